using Xunit;

namespace Yarnish.Tests.Collections;

/// <summary>Rows by chance: the right number of them, each as likely, the same ones for the same seed.</summary>
public sealed class SamplingTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_sample_takes_about_its_share_and_the_same_rows_each_time(bool withReplacement)
    {
        var rows = Session.Range(0, 10_000, 4);
        var sample = await rows.Sample(0.2, seed: 5, withReplacement).CollectAsync();

        Assert.InRange(sample.Length, 1_800, 2_200);
        Assert.Equal(sample, await rows.Sample(0.2, seed: 5, withReplacement).CollectAsync());
        Assert.NotEqual(sample, await rows.Sample(0.2, seed: 6, withReplacement).CollectAsync());
        Assert.Equal(withReplacement, sample.Distinct().Count() < sample.Length);
    }

    [Fact]
    public async Task With_replacement_rows_may_become_more()
    {
        Assert.InRange((await Session.Range(0, 1_000, 4).Sample(40, withReplacement: true).CollectAsync()).Length, 39_000, 41_000);
        Assert.Throws<ArgumentOutOfRangeException>(() => Session.Range(0, 3).Sample(1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => Session.Range(0, 3).Sample(double.NaN, withReplacement: true));
    }

    [Fact]
    public async Task A_split_deals_every_row_to_one_part()
    {
        var rows = Session.Range(0, 10_000, 7);
        var parts = rows.RandomSplit([7, 0, 2, 1], seed: 3);
        var dealt = new List<int[]>();
        foreach (var part in parts)
        {
            dealt.Add(await part.CollectAsync());
        }

        Assert.Equal(Enumerable.Range(0, 10_000), dealt.SelectMany(part => part).Order());
        Assert.All(new[] { 7_000, 0, 2_000, 1_000 }.Zip(dealt), part => Assert.InRange(part.Second.Length, part.First - 300, part.First + 300));
        Assert.Throws<ArgumentException>(() => rows.RandomSplit([0, 0]));
        Assert.Throws<ArgumentException>(() => rows.RandomSplit([1, -1]));
    }

    [Fact]
    public async Task A_sample_by_key_takes_the_share_of_each_key()
    {
        var pairs = Session.Range(0, 10_000, 4).KeyBy(static row => row % 4);
        var shares = new Dictionary<int, double> { [0] = 1, [1] = 0.5, [2] = 0 };
        var counts = await pairs.SampleByKey(shares).CountByKeyAsync();

        Assert.Equal(2_500, counts[0]);
        Assert.InRange(counts[1], 1_100, 1_400);
        Assert.Equal(2, counts.Count);
        Assert.Throws<ArgumentOutOfRangeException>(() => pairs.SampleByKey(new Dictionary<int, double> { [0] = 2 }));
    }

    [Fact]
    public Task An_exact_sample_by_key_has_exactly_the_share_of_each_key() => EachAsync(async sample =>
    {
        var pairs = Session.Parallelize(sample.Rows, sample.Partitions).Index().Select(static row => KeyValuePair.Create(row.Item % 4, row.Index));
        var shares = new Dictionary<int, double> { [0] = 1, [1] = 0.5, [2] = 0.1, [3] = 0, [99] = 1 };

        var drawn = await pairs.SampleByKey(shares, seed: sample.Partitions, exact: true).CollectAsync();

        Assert.Equal(
            sample.Rows.CountBy(row => row % 4).ToDictionary(pair => pair.Key, pair => (int)Math.Ceiling(shares.GetValueOrDefault(pair.Key) * pair.Value)).Where(pair => pair.Value > 0).OrderBy(pair => pair.Key),
            drawn.CountBy(pair => pair.Key).OrderBy(pair => pair.Key));
        Assert.Subset(sample.Rows.Index().Select(row => KeyValuePair.Create(row.Item % 4, (long)row.Index)).ToHashSet(), drawn.ToHashSet());
        Assert.Equal(drawn.Length, drawn.Distinct().Count());
    });

    [Fact]
    public async Task An_exact_sample_by_key_finds_its_rows_once_and_other_ones_for_another_seed()
    {
        var pairs = Session.Range(0, 3_000, 5).Select(static row => KeyValuePair.Create(new[] { row % 3 }, row));
        var shares = new Dictionary<int[], double> { [[0]] = 0.1, [[2]] = 0.25 };
        var drawn = pairs.SampleByKey(shares, exact: true);
        var rows = await drawn.Values().CollectAsync();
        var before = Session.Progress.JobsSucceeded;

        Assert.Equal(rows, await drawn.Values().CollectAsync());
        Assert.Equal(before + 1, Session.Progress.JobsSucceeded);
        Assert.Equal((100, 250), (rows.Count(row => row % 3 == 0), rows.Count(row => row % 3 == 2)));
        Assert.NotEqual(rows, await pairs.SampleByKey(shares, seed: 1, exact: true).Values().CollectAsync());
        // About the same number of each partition's 600 rows: no part of the collection is favoured.
        Assert.All(rows.CountBy(row => row / 600), part => Assert.InRange(part.Value, 40, 100));
    }

    [Fact]
    public Task An_exact_sample_has_exactly_the_rows_that_were_asked_for() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions).Index();
        var all = sample.Rows.Index().Select(row => ((long)row.Index, row.Item)).ToHashSet();
        foreach (var count in new[] { 0, 1, 10, 100 })
        {
            var once = await rows.TakeSampleAsync(count, seed: count);
            Assert.Equal(Math.Min(count, sample.Rows.Length), once.Distinct().Count());
            Assert.Equal(once.Length, once.Distinct().Count());
            Assert.Subset(all, once.ToHashSet());

            var repeated = await rows.TakeSampleAsync(count, seed: count, withReplacement: true);
            Assert.Equal(sample.Rows.Length == 0 ? 0 : count, repeated.Length);
            Assert.Subset(all, repeated.ToHashSet());
        }
    });

    [Fact]
    public async Task Every_row_of_an_exact_sample_is_as_likely_whatever_its_partition()
    {
        // Partitions of very different sizes.
        var rows = Session.Range(0, 40, 4).MapPartitions(static (partition, rows) => partition == 0 ? rows.Take(1) : rows);
        var chosen = new Dictionary<int, int>();
        for (var seed = 0; seed < 150; seed++)
        {
            foreach (var row in await rows.TakeSampleAsync(10, seed))
            {
                chosen[row] = chosen.GetValueOrDefault(row) + 1;
            }
        }

        // 1500 draws over 31 rows: 48 each on average, with a standard deviation below 6.
        Assert.Equal(31, chosen.Count);
        Assert.All(chosen.Values, times => Assert.InRange(times, 25, 72));
    }

    [Fact]
    public async Task An_exact_sample_is_the_same_for_the_same_seed_and_comes_in_random_order()
    {
        var rows = Session.Range(0, 1_000, 5);
        var sample = await rows.TakeSampleAsync(50, seed: 1);

        Assert.Equal(sample, await rows.TakeSampleAsync(50, seed: 1));
        Assert.NotEqual(sample.Order(), (await rows.TakeSampleAsync(50, seed: 2)).Order());
        Assert.NotEqual(sample.Order(), sample);
    }
}
