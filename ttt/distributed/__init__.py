"""The only folder that knows torch.distributed."""
