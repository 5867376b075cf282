"""What tests share: tiny models, scripted ones, a synthetic study, the browser."""
