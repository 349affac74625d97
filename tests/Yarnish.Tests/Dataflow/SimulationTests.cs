using System.Globalization;
using Xunit;

namespace Yarnish.Tests.Dataflow;

/// <summary>
/// Jobs under seeded misfortune. A failure names its seed: set <c>YARNISH_SEED</c> to run only that one, <c>YARNISH_SEEDS</c> to run another number than 120.
/// </summary>
public sealed class SimulationTests
{
    private static int Count => int.Parse(Environment.GetEnvironmentVariable("YARNISH_SEEDS") ?? "120", CultureInfo.InvariantCulture);

    private static IEnumerable<ulong> Seeds(int count) =>
        Environment.GetEnvironmentVariable("YARNISH_SEED") is { Length: > 0 } one
            ? [ulong.Parse(one, CultureInfo.InvariantCulture)]
            : Enumerable.Range(1, count).Select(static seed => (ulong)seed);

    [Fact]
    public void Without_misfortune_every_job_succeeds_with_the_results_of_a_sequential_run() => RunAll(40, chaos: false);

    [Fact]
    public void Under_losses_duplicates_and_reorderings_every_job_ends_right_and_leaves_nothing()
    {
        var faults = RunAll(Count, chaos: true);

        if (Environment.GetEnvironmentVariable("YARNISH_SEED") is null)
        {
            // The seeds must keep meeting every kind of misfortune.
            Assert.True(faults.Count >= 8, string.Join(", ", faults));
        }
    }

    [Fact]
    public void The_same_seed_gives_the_same_effects()
    {
        var (one, two) = (new SimulatedFleet(7, chaos: true, log: true), new SimulatedFleet(7, chaos: true, log: true));

        one.Run(6);
        two.Run(6);

        Assert.True(one.Log.Length > 10_000);
        Assert.Equal(one.Log, two.Log);
    }

    private static SortedDictionary<string, int> RunAll(int seeds, bool chaos)
    {
        var faults = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var seed in Seeds(seeds))
        {
            var fleet = new SimulatedFleet(seed, chaos);
            try
            {
                fleet.Run(6);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"Seed {seed} ({string.Join(", ", fleet.Faults)}): {error.Message}", error);
            }
            foreach (var (fault, times) in fleet.Faults)
            {
                faults[fault] = faults.GetValueOrDefault(fault) + times;
            }
        }
        return faults;
    }
}
