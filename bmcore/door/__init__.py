"""The door: what users bring, from the first byte to a case of the library, or a refusal in words.

An arrival is a folder below ``HOME/uploads`` that lives until its case is stored, it is given up,
or ``arrival.KEPT_HOURS`` have passed. Its work is done by a child process (``worker``).
"""
