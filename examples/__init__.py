"""Worked examples: programs that use edgenas as a library."""
