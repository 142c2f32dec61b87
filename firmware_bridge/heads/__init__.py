"""New classes on a board, learnt from a handful of examples without training.

    nearest    the classifier: the nearest class mean
    notebook   what this board has learnt for one model, and what of it was handed out; pure
    places     names of files below the state directory
    keeping    the notebook's file, and the hand-out that the daemon publishes
    pictures   image files to input codes; in a child process only
    worker     the child process: the deployed model's features of files
    features   asks such a child
    active     what runs in a slot, and the head in its bundle
    command    `edgenas-device learn`
    classify   `edgenas-device classify`

The sums themselves, and merging those of many boards, are ``firmware_bridge.wire.heads``. The
daemon imports none of this but ``places``: it only sends the hand-out along.
"""
