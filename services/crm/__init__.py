"""The mock CRM: accepts emails, contacts and campaigns, keeps them in memory, invents what recipients did."""
