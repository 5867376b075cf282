"""Results -> HTML fragments and tables. Pure functions; nothing here knows Gradio.

Whatever a person or a model wrote passes through `text.escape`; it is shown as plain text.
"""
