using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using Yarnish.Dataflow;
using Yarnish.Scheduling;
using Yarnish.Simulation.Jobs;

namespace Yarnish.Simulation;

/// <summary>
/// <c>--seeds N [--from S]</c> runs N seeds, each as a cluster and as jobs; <c>--seed S</c> runs one cluster and prints the end of its log, <c>--jobs S</c> the jobs of one seed, <c>--log FILE</c> writes all of it for log.html;
/// <c>--planted</c> proves that each planted bug of either core is caught in at most 200 seeds.
/// Exit code 0 when all is well, 1 when not, 2 for a wrong option.
/// </summary>
internal static class Program
{
    // What must happen in a few hundred seeds, or the simulation does not test what it claims to.
    private static readonly string[] Sometimes =
    [
        "message lost", "message twice", "manager crashed", "manager crashed between effects", "restart-agent", "crash-node", "cut-node", "cut-driver", "drain",
        "kill-application", "kill-driver", "reload", "sicken", "work left for the next step", "launch repeated", "container adopted", "stranger on a node", "node reserved",
        "application inactive", "placed under a constraint", "compared with the reference", "container preempted", "granted in a partition", "gang granted", "device given",
        "end found by the next agent", "process adopted by the next agent", "launch found in the middle", "removal found in the middle", "agent stopped with its containers",
        "agent stopped in order", "files not placed", "process not started", "exit code lost", "terminate ignored",
        "ask FailurePause", "ask GangDeadline", "ask QueueMaximum", "ask UserLimit", "ask GroupLimit", "ask DriverShare", "ask NotEnoughFree",
        "reason NodeTooSmall", "reason NotEnoughFree", "reason NodeExcluded", "reason AntiAffinity", "reason Locality",
    ];

    // The same for jobs.
    private static readonly string[] SometimesInJobs =
    [
        "executor killed", "executor preempted", "executor disconnected", "executor partitioned until it is given up", "node lost", "file lost", "broker away", "executor drained", "job cancelled",
        "stage repeated", "shuffle written again", "locations asked for", "barrier stage started", "barrier met", "barrier said again", "suspect", "bystander", "poison survived", "executor excluded",
        "job failed: TaskFailed", "job failed: NotRepeatable",
    ];

    private static int Main(string[] args)
    {
        try
        {
            return args switch
            {
                ["--planted"] => Planted(200),
                ["--seed", var seed] => One(Number(seed), PlantedBug.None, null),
                ["--seed", var seed, "--bug", var bug] => One(Number(seed), Bug(bug), null),
                ["--seed", var seed, "--log", var file] => One(Number(seed), PlantedBug.None, file),
                ["--seed", var seed, "--bug", var bug, "--log", var file] => One(Number(seed), Bug(bug), file),
                ["--jobs", var seed] => OneOfJobs(Number(seed), PlantedJobBug.None, null),
                ["--jobs", var seed, "--bug", var bug] => OneOfJobs(Number(seed), JobBug(bug), null),
                ["--jobs", var seed, "--log", var file] => OneOfJobs(Number(seed), PlantedJobBug.None, file),
                ["--jobs", var seed, "--bug", var bug, "--log", var file] => OneOfJobs(Number(seed), JobBug(bug), file),
                ["--seeds", var seeds] => Many((int)Number(seeds), 1),
                ["--seeds", var seeds, "--from", var from] => Many((int)Number(seeds), Number(from)),
                _ => Usage(),
            };
        }
        catch (FormatException error)
        {
            Console.Error.WriteLine(error.Message);
            return Usage();
        }
    }

    private static ulong Number(string text) =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw new FormatException($"'{text}' is not a whole number.");

    private static PlantedBug Bug(string name) => Enum.TryParse<PlantedBug>(name, out var bug)
        ? bug
        : throw new FormatException($"'{name}' is no planted bug. These are: {string.Join(", ", Enum.GetNames<PlantedBug>())}.");

    private static PlantedJobBug JobBug(string name) => Enum.TryParse<PlantedJobBug>(name, out var bug)
        ? bug
        : throw new FormatException($"'{name}' is no planted bug of jobs. These are: {string.Join(", ", Enum.GetNames<PlantedJobBug>())}.");

    private static int Usage()
    {
        Console.Error.WriteLine("usage: Yarnish.Simulation --seeds N [--from S] | --seed S [--bug NAME] [--log FILE] | --jobs S [--bug NAME] [--log FILE] | --planted");
        return 2;
    }

    private static int Many(int seeds, ulong from)
    {
        var watch = Stopwatch.StartNew();
        // The two cores know nothing of each other: one thread for each.
        var running = Task.Run(() => ManyOfJobs(seeds, from));
        var reached = new SortedSet<string>(StringComparer.Ordinal);
        var (violations, events, digest) = (0, 0L, 0UL);
        for (var i = 0; i < seeds; i++)
        {
            var scenario = Scenario.FromSeed(from + (ulong)i, PlantedBug.None);
            var outcome = World.Run(scenario);
            events += outcome.Events;
            digest = (digest * 31) ^ outcome.Digest;
            reached.UnionWith(outcome.Reached);
            if (outcome.Violations.Count > 0)
            {
                violations++;
                if (violations <= 5)
                {
                    Report(scenario, outcome);
                }
            }
        }
        var missing = seeds >= 200 ? Sometimes.Where(what => !reached.Contains(what)).ToArray() : [];
        foreach (var what in missing)
        {
            Console.WriteLine($"never reached in {seeds} seeds: {what}");
        }
        var jobs = running.GetAwaiter().GetResult();
        foreach (var line in jobs.Lines)
        {
            Console.WriteLine(line);
        }
        violations += jobs.Violations;
        events += jobs.Events;
        Console.WriteLine($"digest of everything that left the cores: {digest:x16} {jobs.Digest:x16} (the same in every run, or a core is not deterministic)");
        Console.WriteLine($"seeds {seeds}, violations {violations + missing.Length}, events {events}, seconds {watch.Elapsed.TotalSeconds:0.0}");
        return violations + missing.Length == 0 ? 0 : 1;
    }

    private static (List<string> Lines, int Violations, long Events, ulong Digest) ManyOfJobs(int seeds, ulong from)
    {
        var reached = new SortedSet<string>(StringComparer.Ordinal);
        var lines = new List<string>();
        var (violations, events, digest) = (0, 0L, 0UL);
        for (var i = 0; i < seeds; i++)
        {
            var outcome = JobWorld.Run(from + (ulong)i);
            events += outcome.Events;
            digest = (digest * 31) ^ outcome.Digest;
            reached.UnionWith(outcome.Reached);
            if (outcome.Violations is [var first, ..] && ++violations <= 5)
            {
                lines.Add(Describe(from + (ulong)i, PlantedJobBug.None, first));
            }
        }
        foreach (var what in seeds >= 200 ? SometimesInJobs.Where(what => !reached.Contains(what)) : [])
        {
            violations++;
            lines.Add($"never reached by jobs in {seeds} seeds: {what}");
        }
        return (lines, violations, events, digest);
    }

    private static string Describe(ulong seed, PlantedJobBug bug, string violation) =>
        $"jobs of seed {seed} at {Version}: {violation}{Environment.NewLine}  to read it: dotnet run --project tests/Yarnish.Simulation -- --jobs {seed}{(bug == PlantedJobBug.None ? "" : $" --bug {bug}")} --log jobs-{seed}.jsonl, then open that file with tests/Yarnish.Simulation/log.html";

    private static int OneOfJobs(ulong seed, PlantedJobBug bug, string? file)
    {
        JobOutcome outcome;
        try
        {
            using var writer = file is null ? null : new StreamWriter(file);
            writer?.WriteLine(System.Text.Json.JsonSerializer.Serialize(new { seed, bug = bug == PlantedJobBug.None ? null : bug.ToString(), nodes = Array.Empty<string>(), faultsEnd = 5 }));
            var log = writer is null ? null : new EventLog(writer);
            outcome = JobWorld.Run(seed, bug: bug, watch: log is null ? null : (told, at) => log.Write((at - JobWorld.Begin).TotalSeconds, told is JobEvent ? "event" : "effect", Words(told)));
            log?.Write(0, "violation", string.Join(" ", outcome.Violations));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"The log cannot be written to {file}: {error.Message}");
            return 2;
        }
        Console.WriteLine(outcome.Violations is [var first, ..] ? Describe(seed, bug, first) : $"jobs of seed {seed}: no violation in {outcome.Events} events; reached: {string.Join(", ", outcome.Reached)}");
        return outcome.Violations.Count == 0 ? 0 : 1;
    }

    private static string Words(object told) => told switch
    {
        SendTasks send => $"SendTasks to {send.To}: stage {send.StageId}.{send.StageAttempt}, partitions {string.Join(' ', send.Tasks.Select(static task => $"{task.Partition}#{task.AttemptId}"))}",
        TasksEnded ended => $"TasksEnded of {ended.Address}: {string.Join(' ', ended.Reports.Select(static report => $"#{report.AttemptId} {report.End.GetType().Name}"))}",
        StopTasks stop => $"StopTasks to {stop.To}: {string.Join(' ', stop.Attempts.Select(static id => $"#{id}"))}: {stop.Reason}",
        ExecutorLost { Running: { } running } lost => $"{lost}, running {string.Join(' ', running.Select(static id => $"#{id}"))}",
        TasksSettled settled => $"TasksSettled: {string.Join(' ', settled.Tasks.Select(static task => $"{task.StageId}.{task.StageAttempt}:{task.Partition}{(task.Counts ? "!" : "")}"))}",
        _ => $"{told}",
    };

    private static int One(ulong seed, PlantedBug bug, string? file)
    {
        var scenario = Scenario.FromSeed(seed, bug);
        if (file is not null)
        {
            return Logged(scenario, bug, file);
        }
        var outcome = World.Run(scenario);
        foreach (var line in outcome.Log)
        {
            Console.WriteLine(line);
        }
        Console.WriteLine($"nodes: {string.Join(" | ", scenario.Nodes)}");
        Report(scenario, outcome);
        return outcome.Violations.Count == 0 ? 0 : 1;
    }

    private static int Logged(Scenario scenario, PlantedBug bug, string file)
    {
        Outcome outcome;
        try
        {
            using var writer = new StreamWriter(file);
            var log = new EventLog(writer);
            log.Begin(scenario, bug);
            outcome = World.Run(scenario, log);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"The log cannot be written to {file}: {error.Message}");
            return 2;
        }
        Report(scenario, outcome);
        Console.WriteLine($"{file} holds the whole log: open tests/Yarnish.Simulation/log.html in a browser and choose it");
        return outcome.Violations.Count == 0 ? 0 : 1;
    }

    private static void Report(Scenario scenario, Outcome outcome)
    {
        if (outcome.Violations.Count == 0)
        {
            Console.WriteLine($"seed {scenario.Seed}: no violation in {outcome.Events} events");
            return;
        }
        Console.WriteLine($"seed {scenario.Seed} at {Version}: {outcome.Violations[0]}");
        var small = Shrink(scenario, Invariant(outcome.Violations[0]));
        Console.WriteLine($"  shrunk from {scenario.Deeds.Length} to {small.Deeds.Length} deeds; drop {small.DropPerMille}, twice {small.DuplicatePerMille}, slow {small.SlowPerMille} of a thousand:");
        foreach (var deed in small.Deeds)
        {
            Console.WriteLine("    " + deed);
        }
        var bug = scenario.Settings.Planted == PlantedBug.None ? "" : $" --bug {scenario.Settings.Planted}";
        Console.WriteLine($"  to read it: dotnet run --project tests/Yarnish.Simulation -- --seed {scenario.Seed}{bug} --log seed-{scenario.Seed}.jsonl, then open that file with tests/Yarnish.Simulation/log.html");
    }

    // The version carries the commit the program was built from.
    private static string? Version => System.Reflection.CustomAttributeExtensions.GetCustomAttribute<System.Reflection.AssemblyInformationalVersionAttribute>(typeof(Scenario).Assembly)?.InformationalVersion;

    private static string Invariant(string violation) => violation.Split(':')[0];

    // Leaves out deeds and faults as long as the same invariant still breaks.
    private static Scenario Shrink(Scenario scenario, string invariant)
    {
        bool Fails(Scenario candidate) => World.Run(candidate).Violations is [var first, ..] && Invariant(first) == invariant;
        var best = scenario;
        foreach (var calmer in new Func<Scenario, Scenario>[]
        {
            static s => s.With(s.Deeds, 0, s.DuplicatePerMille, s.SlowPerMille),
            static s => s.With(s.Deeds, s.DropPerMille, 0, s.SlowPerMille),
            static s => s.With(s.Deeds, s.DropPerMille, s.DuplicatePerMille, 0),
        })
        {
            best = Fails(calmer(best)) ? calmer(best) : best;
        }
        for (var i = best.Deeds.Length - 1; i >= 0; i--)
        {
            if (i < best.Deeds.Length && best.Without(i) is var candidate && Fails(candidate))
            {
                best = candidate;
            }
        }
        return best;
    }

    private static int Planted(int most)
    {
        var missed = 0;
        foreach (var bug in Enum.GetValues<PlantedBug>().Where(static bug => bug != PlantedBug.None))
        {
            var caught = 0UL;
            var how = "";
            for (var seed = 1UL; seed <= (ulong)most && caught == 0; seed++)
            {
                if (World.Run(Scenario.FromSeed(seed, bug)).Violations is [var first, ..])
                {
                    (caught, how) = (seed, first);
                }
            }
            missed += caught == 0 ? 1 : 0;
            Console.WriteLine(caught == 0 ? $"{bug}: NOT caught in {most} seeds" : $"{bug}: caught by seed {caught}: {how}");
        }
        foreach (var bug in Enum.GetValues<PlantedJobBug>().Where(static bug => bug != PlantedJobBug.None))
        {
            var caught = 0UL;
            var how = "";
            for (var seed = 1UL; seed <= (ulong)most && caught == 0; seed++)
            {
                if (JobWorld.Run(seed, bug: bug).Violations is [var first, ..])
                {
                    (caught, how) = (seed, first.Split('\n')[0]);
                }
            }
            missed += caught == 0 ? 1 : 0;
            Console.WriteLine(caught == 0 ? $"{bug} (jobs): NOT caught in {most} seeds" : $"{bug} (jobs): caught by seed {caught}: {how}");
        }
        return missed == 0 ? 0 : 1;
    }

    private static Scenario With(this Scenario s, ImmutableArray<Deed> deeds, int drop, int duplicate, int slow) => new()
    {
        Seed = s.Seed,
        Nodes = s.Nodes,
        Configuration = s.Configuration,
        Settings = s.Settings,
        DropPerMille = drop,
        DuplicatePerMille = duplicate,
        SlowPerMille = slow,
        DisksSurvive = s.DisksSurvive,
        HasPartition = s.HasPartition,
        Deeds = deeds,
    };

    private static Scenario Without(this Scenario s, int deed) => s.With(s.Deeds.RemoveAt(deed), s.DropPerMille, s.DuplicatePerMille, s.SlowPerMille);
}
