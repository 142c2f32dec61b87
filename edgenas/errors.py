"""Root of the host side's errors, and the map of the whole tree.

Each package derives its own family next to the code that raises it; only the root lives here. What
goes wrong on a device or in a candidate is not an exception but a value with a code (a verdict, a
`JobFailed`, an outcome). Every text says what was expected, what came and what to do.

    EdgenasError
    |-- toml_file.TomlFileError      a file of TOML that cannot be read; its readers say which file
    |-- space.ArchError                an architecture or a choice that is not in its space
    |-- broker.*                       a local broker that cannot be started
    |-- site.SiteError                an authority, a broker's folder or mosquitto itself
    |-- data.*                         a data set that is missing or damaged
    |-- model.*, train.*               training that cannot start or has diverged
    |-- database.DatabaseError         the address of a database, or a driver that is missing
    |-- database.UnfitValueError       a value that no database takes, such as a text with a NUL
    |-- export.*                       bytes that do not compute what was trained
    |-- search.*                       a history or a limit that cannot be used
    |-- campaign.*                     a campaign that cannot begin or go on
    |-- rollout.errors.RolloutError    a rollout that cannot be planned, asked or remembered
    `-- fleet.errors.FleetError
        |-- ShelfError                 a file that cannot be put on the shelf, a digest not on it
        |-- FleetJournalError          the host's database
        |-- DevicesMissingError        devices did not come online in time
        |-- FleetStoppedError          the host part has stopped and cannot go on
        |-- ReleaseError               a release that cannot be built, or that names missing files
        |-- EnrolmentRefusedError      an invitation or a decision that cannot be carried out
        |-- SelectorError              a selector of devices that cannot be read
        |-- HeadError                  learnt classes that cannot be read, merged or shipped
        |-- KeyFileError               a signing or verify key that cannot be read or written
        `-- LocalDeviceError           a local device process that does not live

The device side and the wire between both have a tree of their own, below
`firmware_bridge.wire.errors.BridgeError`; the host lets those pass through where they already say
what to do (for instance that no broker answers).
"""


class EdgenasError(Exception):
    """Something edgenas could not do; the text says what was expected, what came, what to do."""
