"""How good the nets and answers are, on cases they have not seen."""
