"""The mock platform: publishes web content and social posts into memory and invents their audience."""
