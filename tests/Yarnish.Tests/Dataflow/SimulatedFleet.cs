using System.Globalization;
using System.Text;
using Xunit;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Tests.Dataflow;

/// <summary>
/// The real machine with simulated executors, nodes, broker and clock, all from one seed. Tasks compute: they read the parts of their shuffles where the registry says
/// they are, add them up, and split the sum over the reducers of their own shuffle. A stage that is not repeatable splits differently with each attempt. So the sum of all
/// results is known beforehand, and wrong as soon as one part is read twice, not at all, or from two different tries of an unrepeatable stage.
/// </summary>
internal sealed class SimulatedFleet
{
    private const int Reducers = 4;
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly SeededNumbers _random;
    private readonly JobMachine _machine;
    private readonly PriorityQueue<Action, (long At, long Order)> _agenda = new();
    private readonly StringBuilder? _log;
    private readonly List<Template> _templates = [];
    private readonly Dictionary<int, JobRun> _jobs = [];
    private readonly SortedDictionary<string, SimulatedExecutor> _executors = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SimulatedNode> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<(int Shuffle, int Epoch), IReadOnlyList<MapOutput>> _registry = [];
    private readonly bool _chaos;
    private long _now;
    private long _order;
    private long _steps;
    private long _wakeAt = long.MaxValue;
    private int _nextJob;
    private int _nextExecutor;
    private int _nextNode;
    private bool _linkDown;

    public SimulatedFleet(ulong seed, bool chaos, bool log = false)
    {
        _random = new SeededNumbers(seed);
        _chaos = chaos;
        _log = log ? new StringBuilder() : null;
        _machine = new JobMachine(new JobMachineOptions
        {
            Speculation = _random.Chance(50),
            SpeculationQuantilePercent = 50,
            Exclusion = _random.Chance(50),
            ExclusionTime = TimeSpan.FromSeconds(5),
            BatchLimit = _random.Next(1, 65),
            Allocation = _random.Chance(50) ? new AllocationOptions { Idle = TimeSpan.FromSeconds(5), Minimum = 1, Initial = 3, SlotsPerExecutor = 2 } : null,
        });
    }

    public string Log => _log?.ToString() ?? "";

    /// <summary>Sees each event before the machine, and each effect before it is carried out.</summary>
    public Action<object, DateTimeOffset>? Watch { get; init; }

    /// <summary>Faults that happened, by kind.</summary>
    public SortedDictionary<string, int> Faults { get; } = new(StringComparer.Ordinal);

    public int JobsSucceeded { get; private set; }

    public int JobsFailed { get; private set; }

    /// <summary>Runs some jobs to their end and checks everything.</summary>
    public void Run(int jobs)
    {
        for (var i = 0; i < 3; i++)
        {
            AddNode();
        }
        for (var i = 0; i < 3; i++)
        {
            AddExecutor();
        }
        for (var i = 0; i < jobs; i++)
        {
            At(_random.Next(0, 3000), () => Submit(RandomPlan()));
        }
        if (_chaos)
        {
            for (var i = 0; i < 25; i++)
            {
                At(_random.Next(0, 5000), Misfortune);
            }
        }
        Work(() => _jobs.Count >= jobs && _jobs.Values.All(job => job.Ended) && _jobs.Values.Count(job => job.Succeeded) == jobs);

        // Everything a finished job leaves is gone once its owner let go and the last report is in.
        foreach (var template in _templates)
        {
            Apply(new ShuffleReleased(new ShuffleId(template.Shuffle)));
        }
        Work(() => _machine.Snapshot().Totals.TasksRunning == 0);
        _machine.AssertEmpty();
        Assert.All(_nodes.Values, node => Assert.Empty(node.Files));
    }

    // ── Time.

    private void At(double inMilliseconds, Action action) => _agenda.Enqueue(action, (_now + (long)(inMilliseconds * TimeSpan.TicksPerMillisecond), _order++));

    private void Work(Func<bool> until)
    {
        while (!until())
        {
            Assert.True(++_steps < 400_000, $"no end in sight after {_steps} steps at {TimeSpan.FromTicks(_now)}: {Describe()}");
            if (_agenda.Count == 0)
            {
                Assert.Fail($"nothing happens any more: {Describe()}");
            }
            _agenda.TryDequeue(out var action, out var when);
            _now = Math.Max(_now, when.At);
            action!();
        }
    }

    private string Describe()
    {
        var snapshot = _machine.Snapshot();
        return string.Join("\n", snapshot.Jobs.Where(job => job.State == JobState.Running))
            + "\n" + string.Join("\n", snapshot.Stages.Take(20)) + "\n" + string.Join("\n", snapshot.Executors) + "\n" + snapshot.Totals;
    }

    private void Apply(JobEvent happened)
    {
        var effects = new List<JobEffect>();
        Watch?.Invoke(happened, Start.AddTicks(_now));
        _machine.Apply(happened, Start.AddTicks(_now), effects);
        _machine.AssertConsistent();
        _log?.AppendLine(CultureInfo.InvariantCulture, $"{_now} {happened.GetType().Name}");
        foreach (var effect in effects)
        {
            _log?.AppendLine(CultureInfo.InvariantCulture, $"  {(effect is SendTasks send ? $"{send.To} {send.StageId}.{send.StageAttempt} {string.Join(' ', send.Tasks)}" : effect.GetType().Name)}");
            Watch?.Invoke(effect, Start.AddTicks(_now));
            Carry(effect);
        }
        if (_machine.NextWake is { } wake && (wake - Start).Ticks < _wakeAt)
        {
            _wakeAt = Math.Max((wake - Start).Ticks, _now);
            _agenda.Enqueue(Wake, (_wakeAt, _order++));
        }

        void Wake()
        {
            _wakeAt = long.MaxValue;
            Apply(TimePassed.Instance);
        }
    }

    // ── What the machine wants.

    private void Carry(JobEffect effect)
    {
        switch (effect)
        {
            case SendTasks send:
                Assert.False(_linkDown, "sent while the link is interrupted");
                Deliver(send.To, executor => Receive(executor, send), () =>
                {
                    if (_random.Chance(80))
                    {
                        At(_random.Next(0, 20), () => Apply(new BatchReturned(send.To, [.. send.Tasks.Select(task => task.AttemptId)], QueueGone: true)));
                    }
                });
                break;
            case StopTasks stop:
                Deliver(stop.To, executor => Stop(executor, stop), () => { });
                break;
            case HelloWanted wanted:
                Deliver(wanted.To, Hello, () => { });
                break;
            case PublishLocations published:
                Assert.All(published.Outputs, Assert.NotNull);
                _registry[(published.ShuffleId.Value, published.Epoch)] = published.Outputs;
                break;
            case FetchResult fetch:
                At(_random.Next(0, 20), () => Apply(
                    _chaos && _random.Chance(10)
                        ? new ResultLost(fetch.Report.AttemptId, "chaos")
                        : new ResultFetched(fetch.Report.AttemptId, fetch.Report)));
                break;
            case PartitionResult result:
                Assert.False(_jobs[result.JobId.Value].Ended, "a result after the end of its job");
                _jobs[result.JobId.Value].Results.Add(result.Partition, BitConverter.ToInt64(result.Report.Result.Span));
                break;
            case JobSucceeded succeeded:
                OnSucceeded(_jobs[succeeded.JobId.Value]);
                break;
            case JobFailed failed:
                OnFailed(_jobs[failed.JobId.Value], failed.Failure);
                break;
            case ReleaseExecutor release:
                if (_executors.TryGetValue(release.ExecutorId.Value, out var released))
                {
                    End(released, ContainerExitCause.Released);
                }
                break;
            case DropShuffle drop:
                foreach (var node in _nodes.Values)
                {
                    foreach (var file in node.Files.Keys.Where(file => file.Shuffle == drop.ShuffleId.Value).ToArray())
                    {
                        node.Files.Remove(file);
                    }
                }
                break;
            case ExecutorsWanted wanted:
                for (var missing = wanted.Count - _executors.Count; missing > 0; missing--)
                {
                    if (_executors.Count < 8)
                    {
                        AddExecutor();
                    }
                }
                break;
        }
    }

    private void Deliver(ExecutorAddress to, Action<SimulatedExecutor> arrived, Action returned) =>
        At(_random.Next(0, 4), () =>
        {
            if (_executors.TryGetValue(to.ExecutorId.Value, out var executor) && executor.Epoch == to.Epoch && executor.Connected)
            {
                arrived(executor);
            }
            else
            {
                returned();
            }
        });

    // ── Jobs.

    /// <summary>Some new shuffles, some old ones, and a result over them.</summary>
    private Plan RandomPlan()
    {
        for (var i = _random.Next(0, 4); i > 0; i--)
        {
            int[] reads = [.. _templates.Where(_ => _random.Chance(40)).Select(template => template.Shuffle)];
            _templates.Add(new Template(_templates.Count, reads.Length == 0 ? _random.Next(0, 9) : Reducers, reads, _random.Chance(35)));
        }
        int[] inputs = [.. _templates.Where(_ => _random.Chance(40)).Select(template => template.Shuffle)];
        var needed = new SortedSet<int>(inputs);
        for (var i = _templates.Count - 1; i >= 0; i--)
        {
            if (needed.Contains(i))
            {
                needed.UnionWith(_templates[i].Reads);
            }
        }
        return new Plan([.. needed.Select(i => _templates[i])], inputs, inputs.Length == 0 ? _random.Next(1, 20) : Reducers, _random.Next(0, 3));
    }

    private void Submit(Plan plan)
    {
        var id = _nextJob++;
        var stages = plan.Maps.Select((map, code) => new StageDefinition
        {
            Name = $"map {map.Shuffle}",
            Partitions = map.Partitions,
            Output = new ShuffleOutput(new ShuffleId(map.Shuffle), Reducers),
            Inputs = [.. map.Reads.Select(read => new ShuffleId(read))],
            Code = code,
            Indeterminate = map.Indeterminate,
            Persisted = [map.Shuffle],
        }).ToList();
        stages.Add(new StageDefinition { Name = "result", Partitions = plan.Partitions, Inputs = [.. plan.Inputs.Select(read => new ShuffleId(read))], Code = stages.Count });
        _jobs.Add(id, new JobRun(plan));
        Apply(new JobSubmitted(new JobId(id), new JobDefinition { Stages = stages, Pool = $"pool {plan.Pool}", PoolWeight = plan.Pool + 1 }));
    }

    private void OnSucceeded(JobRun job)
    {
        job.Ended = job.Succeeded = true;
        JobsSucceeded++;
        Assert.Equal(Enumerable.Range(0, job.Plan.Partitions), job.Results.Keys);
        Assert.Equal(TotalOf(job.Plan), job.Results.Values.Sum());
        if (!job.Plan.Maps.Any(map => map.Indeterminate))
        {
            Assert.Equal(RunAlone(job.Plan), job.Results.Values);
        }
    }

    private void OnFailed(JobRun job, JobFailure failure)
    {
        job.Ended = true;
        JobsFailed++;
        Assert.True(_chaos, failure.Message);
        Assert.Contains(failure.Reason, new[] { JobFailureReason.TaskFailed, JobFailureReason.StageFailed, JobFailureReason.NotRepeatable });
        At(_random.Next(10, 1000), () => Submit(job.Plan));
    }

    private static long Own(int shuffle, int partition) => ((shuffle + 2) * 1_000_003L) + (partition * 7919L);

    /// <summary>How a task splits its sum: parts add up to it.</summary>
    private static long[] Split(long sum, long salt)
    {
        var parts = new long[Reducers];
        for (var reducer = 0; reducer < Reducers - 1; reducer++)
        {
            parts[reducer] = (sum / Reducers) + (((salt * 31) + reducer) % 97);
        }
        parts[^1] = sum - parts.Sum();
        return parts;
    }

    private long TotalOf(Plan plan)
    {
        var totals = new Dictionary<int, long>();
        foreach (var map in plan.Maps)
        {
            totals[map.Shuffle] = Enumerable.Range(0, map.Partitions).Sum(partition => Own(map.Shuffle, partition)) + map.Reads.Sum(read => totals[read]);
        }
        return Enumerable.Range(0, plan.Partitions).Sum(partition => Own(-1, partition)) + plan.Inputs.Sum(read => totals[read]);
    }

    /// <summary>The same plan, one task after the other, in one process.</summary>
    private static long[] RunAlone(Plan plan)
    {
        var shuffles = new Dictionary<int, long[]>();
        foreach (var map in plan.Maps)
        {
            var parts = new long[Reducers];
            for (var partition = 0; partition < map.Partitions; partition++)
            {
                var split = Split(Own(map.Shuffle, partition) + map.Reads.Sum(read => shuffles[read][partition]), partition);
                for (var reducer = 0; reducer < Reducers; reducer++)
                {
                    parts[reducer] += split[reducer];
                }
            }
            shuffles[map.Shuffle] = parts;
        }
        return [.. Enumerable.Range(0, plan.Partitions).Select(partition => Own(-1, partition) + plan.Inputs.Sum(read => shuffles[read][partition]))];
    }

    // ── Executors.

    private void AddNode()
    {
        var node = new SimulatedNode($"n{_nextNode++}");
        _nodes.Add(node.Name, node);
    }

    private void AddExecutor()
    {
        var node = _nodes.Values.ElementAt(_random.Next(0, _nodes.Count));
        var executor = new SimulatedExecutor($"e{_nextExecutor++:D4}", node, _random.Next(1, 4));
        _executors.Add(executor.Name, executor);
        At(_random.Next(0, 200), () => Connect(executor));
        At(2000, () => Beat(executor));
    }

    private void Connect(SimulatedExecutor executor)
    {
        if (executor.Alive && !executor.Connected)
        {
            executor.Epoch++;
            executor.Connected = true;
            Hello(executor);
        }
    }

    private void Hello(SimulatedExecutor executor)
    {
        var hello = new ExecutorJoined(
            executor.Address, new NodeId(executor.Node.Name), executor.Slots, [.. executor.Queue.Concat(executor.Running).Select(task => task.Id)],
            [.. executor.Kept.Select(report => report.AttemptId)]);
        ToDriver(executor, () => Apply(hello));
        if (executor.Kept.Count > 0)
        {
            Send(executor, [.. executor.Kept]);
        }
    }

    private void Beat(SimulatedExecutor executor)
    {
        if (executor.Alive)
        {
            if (executor.Connected)
            {
                var beat = new ExecutorAlive(executor.Address, [.. executor.Running.Select(task => task.Id)], executor.Queue.Count);
                ToDriver(executor, () => Apply(beat));
            }
            At(2000, () => Beat(executor));
        }
    }

    /// <summary>In the order of sending, unless the broker has other plans; held back while the link is down, sometimes said twice.</summary>
    private void ToDriver(SimulatedExecutor executor, Action arrives)
    {
        var at = Math.Max(_now + (long)(_random.Next(0, 5) * TimeSpan.TicksPerMillisecond), executor.LastArrival);
        executor.LastArrival = _chaos && _random.Chance(5) ? _now : at;
        var copies = _chaos && _random.Chance(5) ? 2 : 1;
        for (; copies > 0; copies--)
        {
            Enqueue(at);
            at += (long)(_random.Next(0, 3000) * TimeSpan.TicksPerMillisecond);
        }

        void Enqueue(long when) => _agenda.Enqueue(
            () =>
            {
                if (_linkDown)
                {
                    Enqueue(_now + TimeSpan.TicksPerSecond);
                }
                else
                {
                    arrives();
                }
            }, (when, _order++));
    }

    private void Send(SimulatedExecutor executor, TaskReport[] reports) =>
        ToDriver(executor, () =>
        {
            foreach (var report in reports)
            {
                executor.Kept.Remove(report);
            }
            Apply(new TasksEnded(executor.Address, reports));
        });

    private void Receive(SimulatedExecutor executor, SendTasks send)
    {
        foreach (var task in send.Tasks)
        {
            if (executor.Seen.Add(task.AttemptId))
            {
                executor.Queue.Add(new SimulatedTask(task.AttemptId, send.Stage, send.StageId.Value, task.Partition, send.Inputs, executor.Node));
            }
        }
        Fill(executor);
    }

    private void Fill(SimulatedExecutor executor)
    {
        while (executor.Alive && executor.Running.Count < executor.Slots && executor.Queue.Count > 0)
        {
            var task = executor.Queue[0];
            executor.Queue.RemoveAt(0);
            executor.Running.Add(task);
            var took = _random.Chance(3) ? _random.Next(500, 4000) : _random.Next(0, 60);
            At(took, () => Finish(executor, task, took));
        }
    }

    private void Stop(SimulatedExecutor executor, StopTasks stop)
    {
        foreach (var id in stop.Attempts)
        {
            var queued = executor.Queue.Find(task => task.Id == id);
            if (queued is not null)
            {
                executor.Queue.Remove(queued);
                Report(executor, new TaskReport(id, new TaskKilled(stop.Reason), TaskMetrics.Empty, default));
            }
            else if (executor.Running.Find(task => task.Id == id) is { } running)
            {
                // Cooperative: some listen, some finish first.
                running.Stopped |= _random.Chance(50);
            }
        }
    }

    private void Report(SimulatedExecutor executor, TaskReport report)
    {
        executor.Kept.Add(report);
        if (executor.Connected)
        {
            Send(executor, [report]);
        }
    }

    private void Finish(SimulatedExecutor executor, SimulatedTask task, double took)
    {
        if (!executor.Alive)
        {
            return;
        }
        executor.Running.Remove(task);
        Report(executor, Compute(executor, task, took));
        Fill(executor);
    }

    private TaskReport Compute(SimulatedExecutor executor, SimulatedTask task, double took)
    {
        var metrics = new TaskMetrics { RunMicroseconds = (long)(took * 1000) };
        if (task.Stopped)
        {
            return new TaskReport(task.Id, new TaskKilled("stopped"), metrics, default);
        }
        if (_chaos && _random.Chance(2))
        {
            return new TaskReport(task.Id, World.Boom("chaos"), metrics, default);
        }
        var stage = task.Stage;
        var sum = Own(stage.Output?.Shuffle.Value ?? -1, task.Partition);
        foreach (var input in task.Inputs)
        {
            foreach (var output in _registry[(input.ShuffleId.Value, input.Epoch)])
            {
                if (!_nodes.TryGetValue(output.NodeId.Value, out var node) || !node.Files.TryGetValue((output.ShuffleId.Value, output.MapPartition, output.AttemptId), out var parts))
                {
                    return new TaskReport(task.Id, new FetchFailed(output.ShuffleId, output.MapPartition, output.AttemptId, output.NodeId, "no such file"), metrics, default);
                }
                sum += parts[task.Partition];
            }
        }
        if (stage.Output is { } write)
        {
            executor.Node.Files[(write.Shuffle.Value, task.Partition, task.Id)] = Split(sum, stage.Indeterminate ? task.Id.Value : task.Partition);
            return new TaskReport(task.Id, TaskSucceeded.Instance, metrics, default)
            {
                MapOutput = new MapOutput(write.Shuffle, task.Partition, task.Id, new NodeId(executor.Node.Name), "", new byte[] { 10 }),
                Cached = [new CachedPartition(write.Shuffle.Value, task.Partition, 1, 0)],
            };
        }
        return new TaskReport(task.Id, TaskSucceeded.Instance, metrics, BitConverter.GetBytes(sum)) { ResultBlock = _random.Chance(10) ? "block" : null };
    }

    /// <summary>An executor ends; sooner or later somebody tells.</summary>
    private void End(SimulatedExecutor executor, ContainerExitCause cause)
    {
        if (!executor.Alive)
        {
            return;
        }
        executor.Alive = false;
        executor.Connected = false;
        _executors.Remove(executor.Name);
        TaskAttemptId[]? running = _random.Chance(50) ? [.. executor.Running.Select(task => task.Id)] : null;
        At(_random.Next(0, 2000), () => Apply(new ExecutorLost(new ExecutorId(executor.Name), cause, "it ended") { Running = running }));
        if (_executors.Count < 2)
        {
            AddExecutor();
        }
    }

    // ── What goes wrong.

    private void Misfortune()
    {
        var executor = _executors.Count > 0 ? _executors.Values.ElementAt(_random.Next(0, _executors.Count)) : null;
        switch (_random.Next(0, 11))
        {
            case 0 when executor is not null:
                Count("executor killed");
                End(executor, ContainerExitCause.KilledBySignal);
                break;
            case 1 when executor is not null:
                Count("executor preempted");
                End(executor, ContainerExitCause.Preempted);
                break;
            case 2 when executor is { Connected: true }:
                Count("executor disconnected");
                executor.Connected = false;
                At(_random.Next(1, 3000), () => Connect(executor));
                break;
            case 3 when executor is { Connected: true }:
                Count("executor partitioned until it is given up");
                executor.Connected = false;
                At(20_000, () => Connect(executor));
                break;
            case 4 or 8 when _nodes.Count > 1:
                Count("node lost");
                LoseNode(_nodes.Values.ElementAt(_random.Next(0, _nodes.Count)));
                break;
            case 5 or 9 or 10:
                Count("file lost");
                var node = _nodes.Values.ElementAt(_random.Next(0, _nodes.Count));
                if (node.Files.Count > 0)
                {
                    node.Files.Remove(node.Files.Keys.ElementAt(_random.Next(0, node.Files.Count)));
                }
                break;
            case 6 when !_linkDown:
                Count("broker away");
                InterruptLink();
                break;
            case 7 when executor is not null:
                Count("executor drained");
                Apply(new ExecutorDraining(new ExecutorId(executor.Name)));
                AddExecutor();
                At(_random.Next(1000, 6000), () => End(executor, ContainerExitCause.StoppedByOperator));
                break;
            default:
                break;
        }

        void Count(string fault) => Faults[fault] = Faults.GetValueOrDefault(fault) + 1;
    }

    private void LoseNode(SimulatedNode node)
    {
        _nodes.Remove(node.Name);
        node.Files.Clear();
        AddNode();
        foreach (var executor in _executors.Values.Where(executor => executor.Node == node).ToArray())
        {
            End(executor, ContainerExitCause.NodeLost);
            AddExecutor();
        }
        At(_random.Next(0, 1500), () => Apply(new NodeWasLost(new NodeId(node.Name), "power")));
    }

    private void InterruptLink()
    {
        _linkDown = true;
        Apply(new LinkInterrupted("broker away"));
        var all = _random.Chance(50);
        if (all)
        {
            foreach (var executor in _executors.Values)
            {
                executor.Connected = false;
            }
        }
        At(_random.Next(10, 30_000), () =>
        {
            _linkDown = false;
            Apply(new LinkRestored(MessagesMayBeLost: true));
            foreach (var executor in _executors.Values)
            {
                At(_random.Next(0, 500), () => Connect(executor));
            }
        });
    }

    private sealed record Template(int Shuffle, int Partitions, int[] Reads, bool Indeterminate);

    private sealed record Plan(Template[] Maps, int[] Inputs, int Partitions, int Pool);

    private sealed class JobRun(Plan plan)
    {
        public Plan Plan { get; } = plan;

        public SortedDictionary<int, long> Results { get; } = [];

        public bool Ended { get; set; }

        public bool Succeeded { get; set; }
    }

    private sealed class SimulatedNode(string name)
    {
        public string Name { get; } = name;

        public SortedDictionary<(int Shuffle, int Map, TaskAttemptId Attempt), long[]> Files { get; } = [];
    }

    private sealed class SimulatedExecutor(string name, SimulatedNode node, int slots)
    {
        public string Name { get; } = name;

        public SimulatedNode Node { get; } = node;

        public int Slots { get; } = slots;

        public int Epoch { get; set; }

        public bool Alive { get; set; } = true;

        public bool Connected { get; set; }

        public long LastArrival { get; set; }

        public List<SimulatedTask> Queue { get; } = [];

        public List<SimulatedTask> Running { get; } = [];

        public HashSet<TaskAttemptId> Seen { get; } = [];

        /// <summary>Reports that nobody confirmed.</summary>
        public List<TaskReport> Kept { get; } = [];

        public ExecutorAddress Address => new(new ExecutorId(Name), Epoch);
    }

    private sealed record SimulatedTask(
        TaskAttemptId Id, StageDefinition Stage, int StageId, int Partition, IReadOnlyList<ShuffleInput> Inputs, SimulatedNode Node)
    {
        public bool Stopped { get; set; }
    }
}

/// <summary>Numbers from a seed, the same on every machine and runtime (SplitMix64).</summary>
internal sealed class SeededNumbers(ulong seed)
{
    private ulong _state = seed;

    public int Next(int from, int below) => from + (int)(NextUnsigned() % (ulong)(below - from));

    public bool Chance(int percent) => Next(0, 100) < percent;

    private ulong NextUnsigned()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
