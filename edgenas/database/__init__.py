"""The host's database: where it is, how it is written, what is in it, how an older one is renewed.

SQLite (write-ahead log) or PostgreSQL, through SQLAlchemy's Core. Nothing here is imported by a
command that needs no database. The meaning of the rows is left to the fleet's logs and the study.
"""
