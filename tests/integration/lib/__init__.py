"""What the integration tests share: processes, a RESP client, a record of what was promised."""
