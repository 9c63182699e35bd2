"""The door for DICOM: folder, files, zip or DICOMDIR to volumes in world RAS+ mm.

    with read_study("/media/cdrom") as found:
        print(table(found))
        choice = choose(found, series={"t1c": "7"})
        raw = to_raw(found, choice, home)       # each sequence on its own grid
        case = to_case(raw)                     # where the grids agree

Only this room and ``report`` know DICOM; patient coordinates (LPS) become world coordinates (RAS+)
in ``geometry`` and nowhere else. Files are parsed in the child process of ``intake.child``.
"""
