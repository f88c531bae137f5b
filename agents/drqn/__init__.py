"""The deep recurrent Q-network of the paper."""
