"""The core: joins one front end and one device."""
