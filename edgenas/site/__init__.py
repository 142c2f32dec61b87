"""What a fleet on a real network stands on: an authority of its own, and mosquitto set up with it.

Needs no database and no device. Leaves who may have a certificate to `edgenas.fleet`.
"""
