using Xunit.Sdk;
using Xunit.v3;

// These tests start brokers, agents and executors: one at a time keeps their timing meaningful on a small machine.
[assembly: Parallelization(Mode = ParallelMode.None)]
