//! The process that outlives the agent.
