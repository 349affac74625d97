using Newtonsoft.Json;

namespace Yarnish.Transport;

/// <summary>The names in the JSON line of a task message. Frozen: golden files in the tests guard them.</summary>
internal static class WireNames
{
    public const string TaskMessageType = "y.tasks.1";
    public const string ResultMessageType = "y.results.1";

    private static readonly string[] All =
    [
        "type", "app", "driverEpoch", "stage", "stageAttempt", "code", "shuffles", "trace", "settledUpTo", "tasks", "bytes", "attempts", "reason", "collections",
        "shuffle", "epoch", "executor", "node", "url", "slots", "running", "finished", "pid", "host", "sequence", "queued", "memory", "reports", "id", "end",
        "metrics", "result", "block", "map", "accumulators", "cached", "kind", "error", "message", "stack", "inner", "partition", "attempt", "sizes", "byTask",
        "cause", "links", "broadcasts", "round", "messages", "partitions", "elsewhere", "lost", "allWritten",
    ];

    /// <summary>Lets the reader find names without making strings of them. Read-only after this, hence shared.</summary>
    public static JsonNameTable Table { get; } = CreateTable();

    private static DefaultJsonNameTable CreateTable()
    {
        var table = new DefaultJsonNameTable();
        foreach (var name in All)
        {
            table.Add(name);
        }
        return table;
    }
}
