"""From token ids to token ids and log-probabilities, whatever model stands behind them."""
