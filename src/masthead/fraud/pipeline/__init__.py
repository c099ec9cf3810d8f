"""From files, or from what is stored, to an endpoint, in steps that survive."""
