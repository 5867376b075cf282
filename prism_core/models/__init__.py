"""Language models behind one protocol: local, remote, cached."""
