"""What would make verdicts lie, as pure rules over facts about databases, connectors and topics.

Adapters read facts; nothing here asks a server. A fact that could not be read is a problem too, never a pass.
"""
