"""``edgenas-device doctor``: what keeps this board from measuring and deploying, and the remedy.

    finding   what a check says; every code there is
    command   arguments, order of the checks, printing, exit status
    board     processor, throttling, memory control groups
    software  Python, runtime, packages, service
    storage   disk, keys, locks
    clock     whether the time can be right
    network   from the broker's name to its certificate
    rights    what the broker lets this device say and hear

Looks, and changes nothing but what it takes back. Measuring is left to ``bench``.
"""
