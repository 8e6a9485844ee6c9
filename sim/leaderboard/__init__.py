"""The leaderboard: every policy in many settings, beside what an oracle could do."""
