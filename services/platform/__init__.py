"""The mock platform: publishes web content and social posts into memory, invents who saw them."""
