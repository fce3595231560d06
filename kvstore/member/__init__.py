"""The whole member, pure: requests, peer messages, ticks and disk reports in; effects out."""
