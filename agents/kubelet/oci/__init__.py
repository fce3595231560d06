"""Images without a registry: a local store in the form of an OCI layout, what is loaded into it, what is unpacked from it, and the small images
that are made of the machine's own files."""
