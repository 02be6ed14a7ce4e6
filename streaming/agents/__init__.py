"""What an agent is (`base`), which ones are configured (`registry`), and one to try (`demo`).

The adapter of a framework is one more module here, named after the framework, whose class
`DWP_AGENT` names; docs/how-to/write-an-agent.md says what it has to do.
"""
