"""The ground floor: errors, ids, clock, settings, secrets, pages, units and logs. Knows no other room."""
