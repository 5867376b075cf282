"""Start PRISM Studio: `python app.py [--host H] [--port P] [--share] [--mcp] [--auth U:P]`."""

from app.server.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
