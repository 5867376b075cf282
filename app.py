"""Start PRISM Studio: `python app.py [--host H] [--port P] [--share] [--mcp] [--auth U:P]`."""

from prism_core.threads import wait_actively

if __name__ == "__main__":
    wait_actively()  # before anything imports torch
    from app.serve import main

    raise SystemExit(main())
