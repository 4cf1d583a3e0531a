"""The pages: a blueprint per area, and what all of them share. Nothing else imports from here."""
