"""How the demo model is trained: generators of chats, and the loop. It is not imported when serving."""
