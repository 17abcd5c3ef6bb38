"""What trains of Querist: an executable, and packages of strategies in machine code. `querist` finds both here."""
