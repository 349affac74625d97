using System.Globalization;
using Xunit;
using Yarnish.Executor;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>PageRank over persisted links, ten iterations, while every executor it began with is killed once: right ranks, and no more work than was lost.</summary>
[Trait("Category", "Processes")]
public sealed class PageRankChaosTests
{
    private const int Pages = 300;
    private const int Partitions = 4;
    private const int Iterations = 10;

    [Theory]
    [InlineData(3, 7)]
    [InlineData(5, 5)]
    public async Task Every_executor_is_killed_once_and_only_lost_partitions_run_again(int first, int second)
    {
        await using var cluster = await TestCluster.StartAsync(SharedServices.RabbitMq, SharedServices.Redis, nodes: 2);
        using var field = new Field();
        field.Allow("first", 1);
        field.Allow("second", 1);
        await using var session = await SmallJob.OpenAsync(cluster);

        var ranks = await RankAsync(session, field.Path, first, second).WaitAsync(TimeSpan.FromMinutes(3));

        var expected = Expected();
        Assert.Equal(Pages, ranks.Count);
        Assert.All(ranks, rank => Assert.Equal(expected[rank.Key], rank.Value, tolerance: 1e-9));
        // The two it began with, and nobody else.
        int[] killed = [.. field.Took("first"), .. field.Took("second")];
        Assert.Equal(2, killed.Distinct().Count());
        Assert.Equal(2, session.Progress.ExecutorsLost);

        // An iteration's task runs once more only when the process that ran it was killed in its middle: what it had written before belongs to the node.
        var runs = field.Runs;
        var steps = runs.Where(static run => run.Work.StartsWith("step-", StringComparison.Ordinal)).GroupBy(static run => run.Work).ToArray();
        Assert.Equal(Iterations * Partitions, steps.Length);
        Assert.All(steps, step => Assert.True(step.Count() == 1 || step.Count() == 2 && step.Any(run => killed.Contains(run.Process)), $"{step.Key} ran {step.Count()} times"));
        Assert.Equal(Iterations * Partitions + killed.Length, steps.Sum(static step => step.Count()));
        // Persisted links are computed by an executor that has not got them: never twice by the same.
        Assert.All(runs.Where(static run => run.Work.StartsWith("links-", StringComparison.Ordinal)).GroupBy(static run => run), static links => Assert.Single(links));
        await Leftovers.AssertNoneInDriverAsync(session);
    }

    private static async Task<Dictionary<int, double>> RankAsync(YarnishSession session, string field, int first, int second)
    {
        var links = session.Parallelize(Edges(), Partitions)
            .GroupByKey(Partitions)
            .MapPartitions((partition, rows) => Noted(field, partition, rows), keepsPartitioning: true)
            .Persist(StorageLevel.Memory);
        var ranks = links.SelectValues(static _ => 1.0);
        for (var i = 0; i < Iterations; i++)
        {
            var iteration = i;
            ranks = links.Join(ranks, Partitions)
                .MapPartitions((partition, rows) => Contribute(field, iteration, first, second, partition, rows))
                .ReduceByKey(static (left, right) => left + right, Partitions)
                .SelectValues(static sum => 0.15 + 0.85 * sum);
        }
        return (await ranks.CollectAsync()).ToDictionary(static rank => rank.Key, static rank => rank.Value);
    }

    private static IEnumerable<KeyValuePair<int, int[]>> Noted(string field, int partition, IEnumerable<KeyValuePair<int, int[]>> rows)
    {
        Field.Note(field, string.Create(CultureInfo.InvariantCulture, $"links-{partition}"));
        return rows;
    }

    private static IEnumerable<KeyValuePair<int, double>> Contribute(
        string field, int iteration, int first, int second, int partition, IEnumerable<KeyValuePair<int, (int[] Left, double Right)>> rows)
    {
        Field.Note(field, string.Create(CultureInfo.InvariantCulture, $"step-{iteration}-{partition}"));
        var count = 0;
        foreach (var (_, (targets, rank)) in rows)
        {
            if (++count == Pages / Partitions / 2)
            {
                Die(field, iteration, first, second);
            }
            foreach (var target in targets)
            {
                yield return KeyValuePair.Create(target, rank / targets.Length);
            }
        }
    }

    /// <summary>The two processes that take part in iteration 0 die, one from each of the given iterations on; whoever stands in for them lives.</summary>
    private static void Die(string field, int iteration, int first, int second)
    {
        if (iteration == 0)
        {
            // Both must have had a part: else "every executor" would be one.
            Seats.Take(field);
        }
        else if (iteration >= first && Seats.Mine == 0)
        {
            Field.DieOf(field, "first");
        }
        else if (iteration >= second && Seats.Mine == 1)
        {
            Field.DieOf(field, "second");
        }
    }

    /// <summary>Every page links to three others, all are linked to.</summary>
    private static KeyValuePair<int, int>[] Edges() =>
        [.. Enumerable.Range(0, Pages).SelectMany(static page => new[] { (page + 1) % Pages, page * 7 % Pages, page / 2 }.Select(target => KeyValuePair.Create(page, target)))];

    private static double[] Expected()
    {
        var links = Edges().ToLookup(static edge => edge.Key, static edge => edge.Value);
        var ranks = Enumerable.Repeat(1.0, Pages).ToArray();
        for (var i = 0; i < Iterations; i++)
        {
            var sums = new double[Pages];
            foreach (var page in links)
            {
                foreach (var target in page)
                {
                    sums[target] += ranks[page.Key] / page.Count();
                }
            }
            ranks = [.. sums.Select(static sum => 0.15 + 0.85 * sum)];
        }
        return ranks;
    }

    /// <summary>Which of the first two processes this is: a seat is a file that exists once.</summary>
    private static class Seats
    {
        /// <summary>0 or 1; -1 for one that came later.</summary>
        public static int Mine { get; private set; } = -1;

        public static void Take(string field)
        {
            for (var seat = 0; Mine < 0 && seat < 2; seat++)
            {
                try
                {
                    using var file = new FileStream(Path.Combine(field, string.Create(CultureInfo.InvariantCulture, $"seat-{seat}")), FileMode.CreateNew);
                    Mine = seat;
                }
                catch (IOException)
                {
                    // Taken.
                }
            }
            // The other must come too: without it this process would do all the work of a small job alone.
            for (var waited = 0; waited < 3_000 && !File.Exists(Path.Combine(field, "seat-1")); waited++)
            {
                Thread.Sleep(10);
            }
        }
    }
}
