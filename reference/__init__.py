"""How the reference suite is made: its cases, the oracles that certify them, the noise they allow, and the files they become.

    case.py       what a case, a mutant, an operation and a note are
    cases/        the cases, one file for each family of operations
    oracles/      the same operations again, in naive arithmetic that shares no code with minidiff
    noise.py      how much correct arithmetic of a precision deviates
    certify.py    expected values against oracles
    generate.py   all of it into v1/; `python -m reference.generate`
    check.py      what must be true of v1/; `python -m reference.check`

v1/ is what is released: it needs none of this. README.md says how to use it.
"""
