using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using Yarnish.Protocol;
using Yarnish.ResourceManager.Blobs;
using Yarnish.ResourceManager.Cluster;
using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Telemetry;

/// <summary>The metrics of the resource manager; names and labels as in docs/rest-api.md. Labels are bounded: queue, node, state; never an application.</summary>
internal sealed class ClusterInstruments
{
    private readonly Histogram<double> _pass;
    private readonly Histogram<double> _wait;
    private readonly Counter<long> _messages;

    public ClusterInstruments(IMeterFactory meters, ClusterStatus status, BlobStore blobs)
    {
        var meter = meters.Create(AllocationWatch.SourceName);
        _pass = meter.CreateHistogram("yarnish.scheduler.pass.duration", "s", "Time of one step of the scheduler.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.00001, 0.0001, 0.001, 0.01, 0.1, 1] });
        _wait = meter.CreateHistogram("yarnish.container.allocation.wait", "s", "From the wish for a container to its grant.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800] });
        _messages = meter.CreateCounter<long>("yarnish.control.received", description: "Control messages by type.");
        meter.CreateObservableUpDownCounter("yarnish.apps", () => Applications(status), description: "Applications by state and queue.");
        meter.CreateObservableUpDownCounter("yarnish.nodes", () => Nodes(status), description: "Nodes by state.");
        meter.CreateObservableUpDownCounter("yarnish.containers", () => (long)(status.Snapshot?.Cluster.Containers ?? 0), description: "Containers that run or start.");
        meter.CreateObservableUpDownCounter("yarnish.scheduler.pending", () => (long)(status.Snapshot?.Cluster.Outstanding ?? 0), "containers", "Containers asked for and not granted.");
        meter.CreateObservableUpDownCounter("yarnish.queue.memory.allocated", () => OfQueues(status, queue => Of(queue.Allocated).MemoryBytes), "By", "Memory granted in a queue and below, default partition.");
        meter.CreateObservableUpDownCounter("yarnish.queue.memory.guaranteed", () => OfQueues(status, queue => Of(queue.Guarantee).MemoryBytes), "By", "Memory a queue has by right, default partition.");
        meter.CreateObservableUpDownCounter("yarnish.queue.cpu.allocated", () => OfQueues(status, queue => Of(queue.Allocated).MilliCores / 1000.0), "cores", "Cores granted in a queue and below, default partition.");
        meter.CreateObservableUpDownCounter("yarnish.queue.cpu.guaranteed", () => OfQueues(status, queue => Of(queue.Guarantee).MilliCores / 1000.0), "cores", "Cores a queue has by right, default partition.");
        meter.CreateObservableUpDownCounter("yarnish.queue.pending", () => OfQueues(status, queue => (long)queue.Outstanding), "containers", "Containers asked for in a queue and below, and not granted.");
        meter.CreateObservableUpDownCounter("yarnish.queue.apps", () => OfQueues(status, queue => (long)queue.Applications), description: "Live applications in a queue and below.");
        meter.CreateObservableGauge("yarnish.queue.file.valid", () => status.QueueFileProblem.Length == 0 ? 1 : 0, description: "0 while the watched queue file is wrong and the queues before it stay in force.");
        meter.CreateObservableUpDownCounter("yarnish.memory.capacity", () => status.Snapshot?.Cluster.Capacity.MemoryBytes ?? 0, "By", "Memory of the live nodes.");
        meter.CreateObservableUpDownCounter("yarnish.memory.allocated", () => status.Snapshot?.Cluster.Allocated.MemoryBytes ?? 0, "By", "Memory granted.");
        meter.CreateObservableUpDownCounter("yarnish.cpu.capacity", () => (status.Snapshot?.Cluster.Capacity.MilliCores ?? 0) / 1000.0, "cores", "Cores of the live nodes.");
        meter.CreateObservableUpDownCounter("yarnish.cpu.allocated", () => (status.Snapshot?.Cluster.Allocated.MilliCores ?? 0) / 1000.0, "cores", "Cores granted.");
        meter.CreateObservableGauge("yarnish.heartbeat.age", () => HeartbeatAges(status), "s", "Since the last heartbeat of a node.");
        meter.CreateObservableGauge("yarnish.epoch", () => status.Snapshot?.Cluster.Epoch ?? 0, description: "Epoch of this resource manager.");
        meter.CreateObservableGauge("yarnish.ready", () => status.IsReady ? 1 : 0, description: "Whether it answers and schedules.");
        meter.CreateObservableUpDownCounter("yarnish.inbox.depth", () => (long)status.InboxDepth, description: "Messages waiting for the scheduler.");
        meter.CreateObservableCounter("yarnish.control.dropped", () => status.DroppedMessages, description: "Messages given up after several tries to send them.");
        meter.CreateObservableUpDownCounter("yarnish.blobs.stored", () => blobs.StoredBytes, "By", "Bytes in the blob store.");
    }

    /// <summary>The scheduler took a step.</summary>
    public void Stepped(TimeSpan duration) => _pass.Record(duration.TotalSeconds);

    /// <summary>A container was granted after a wait.</summary>
    public void Granted(TimeSpan wait, string queue) => _wait.Record(Math.Max(0, wait.TotalSeconds), new KeyValuePair<string, object?>("queue", queue));

    /// <summary>A control message came.</summary>
    public void Received(string type) => _messages.Add(1, new KeyValuePair<string, object?>("type", type));

    private static IEnumerable<Measurement<long>> Applications(ClusterStatus status) =>
        (status.Snapshot?.Applications ?? [])
            .GroupBy(application => (application.Info.State, application.Info.Queue.Value))
            .Select(group => new Measurement<long>(group.Count(), new("state", group.Key.State), new("queue", group.Key.Value)));

    private static IEnumerable<Measurement<T>> OfQueues<T>(ClusterStatus status, Func<QueueInfo, T> value)
        where T : struct =>
        (status.Snapshot?.Queues ?? []).Select(queue => new Measurement<T>(value(queue), new KeyValuePair<string, object?>("queue", queue.Name.Value)));

    private static Resources Of(ImmutableSortedDictionary<string, Resources> partitions) => partitions.GetValueOrDefault("") ?? Resources.Zero;

    private static IEnumerable<Measurement<long>> Nodes(ClusterStatus status) =>
        status.Snapshot is not { } snapshot ? [] : snapshot.Cluster.Nodes.Select(pair => new Measurement<long>(pair.Value, new KeyValuePair<string, object?>("state", pair.Key)));

    private static IEnumerable<Measurement<double>> HeartbeatAges(ClusterStatus status) =>
        status.Snapshot is not { } snapshot
            ? []
            : snapshot.Nodes.Select(node => new Measurement<double>(Math.Max(0, (snapshot.At - node.LastHeartbeat).TotalSeconds), new KeyValuePair<string, object?>("node", node.Id.Value)));
}
