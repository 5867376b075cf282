"""The Personas tab: read, edit, import and export."""
