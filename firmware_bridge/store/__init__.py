"""What the device keeps on disk: blobs named by their digest, and the journal of its doings."""
