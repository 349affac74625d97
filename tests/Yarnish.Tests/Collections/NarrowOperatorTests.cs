using Xunit;

namespace Yarnish.Tests.Collections;

/// <summary>Steps without a shuffle against LINQ.</summary>
public sealed class NarrowOperatorTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Fact]
    public Task Index_agrees_with_linq() => Agree(
        rows => rows.Where(static row => row != 3).Index().CollectAsync(), rows => rows.Where(row => row != 3).Index().Select(row => ((long)row.Index, row.Item)).ToArray());

    [Fact]
    public Task Index_counts_what_is_behind_a_shuffle() => EachAsync(async sample =>
    {
        var indexed = await Session.Parallelize(sample.Rows, sample.Partitions).OrderBy(static row => row).Index().Where(static row => row.Item > 0).CollectAsync();

        Assert.Equal(sample.Rows.Order().Index().Where(row => row.Item > 0).Select(row => ((long)row.Index, row.Item)), indexed);
    });

    [Fact]
    public async Task Index_counts_once_and_not_at_all_for_a_single_partition()
    {
        var indexed = Session.Range(0, 10, 4).Index();
        await indexed.CountAsync();
        var before = Session.Progress.JobsSucceeded;

        await indexed.CollectAsync();
        Assert.Equal(before + 1, Session.Progress.JobsSucceeded);

        await Session.Range(0, 10, 1).Index().CollectAsync();
        Assert.Equal(before + 2, Session.Progress.JobsSucceeded);
    }

    [Fact]
    public Task Unique_ids_are_unique_and_say_the_partition() => EachAsync(async sample =>
    {
        var parts = await Session.Parallelize(sample.Rows, sample.Partitions).ZipWithUniqueId().Glom().CollectAsync();

        Assert.Equal(sample.Rows, parts.SelectMany(part => part).Select(row => row.Item));
        Assert.All(parts.Index(), part => Assert.Equal(part.Item.Select((_, i) => ((long)i * parts.Length) + part.Index), part.Item.Select(row => row.Id)));
    });

    [Fact]
    public Task Glom_gives_each_partition_as_one_row() => EachAsync(async sample =>
    {
        var parts = await Session.Parallelize(sample.Rows, sample.Partitions).Glom().CollectAsync();

        Assert.Equal(sample.Partitions, parts.Length);
        Assert.Equal(sample.Rows, parts.SelectMany(part => part));
    });

    [Fact]
    public Task Zip_partitions_gives_both_sides_of_each() => Agree(
        rows => rows.ZipPartitions(rows.Where(static row => row > 0), static (left, right) => left.Concat(right)).CountAsync(),
        rows => rows.LongCount() + rows.LongCount(row => row > 0));

    [Fact]
    public async Task Zip_partitions_takes_up_to_four_sides()
    {
        var rows = Session.Range(0, 6, 3);

        Assert.Equal(["0,1|0|0", "2,3|2|2", "4,5|4|4"], await rows.ZipPartitions(
            rows.Where(static row => row % 2 == 0), rows.Where(static row => row % 2 == 0), static (one, two, three) => new[] { $"{string.Join(",", one)}|{string.Join(",", two)}|{string.Join(",", three)}" }).CollectAsync());
        Assert.Equal((int[])[4, 20, 36], await rows.ZipPartitions(
            rows, rows, rows, static (one, two, three, four) => new[] { one.Sum() + two.Sum() + three.Sum() + four.Sum() }).CollectAsync());
    }

    [Fact]
    public void Sides_with_other_numbers_of_partitions_are_refused()
    {
        var error = Assert.Throws<ArgumentException>(() => Session.Range(0, 10, 2).ZipPartitions(Session.Range(0, 10, 3), static (left, right) => left.Concat(right)));
        Assert.Contains("here are 2 and 3", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Session.Range(0, 10, 2).Zip(Session.Range(0, 10, 3), static (left, right) => left + right));
    }

    [Fact]
    public async Task Zip_of_partitions_with_other_numbers_of_rows_fails_the_job()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 10, 2).Zip(Session.Range(0, 11, 2), static (left, right) => left + right).CollectAsync());

        Assert.Contains("Zip: partition 1 has more rows on the second side", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public Task Cross_join_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.CrossJoin(rows.Where(static row => row > 10), static (left, right) => (left, right)), rows => rows.SelectMany(_ => rows.Where(row => row > 10), (left, right) => (left, right)));

    [Fact]
    public async Task Cross_join_gives_each_row_of_a_partition_with_the_others_in_order()
    {
        var rows = await Session.Parallelize([0, 1], 1).CrossJoin(Session.Parallelize(["a", "b", "c"], 2), static (left, right) => $"{left}{right}").CollectAsync();

        Assert.Equal(["0a", "1a", "0b", "0c", "1b", "1c"], rows);
    }

    [Fact]
    public Task Chunk_agrees_with_linq_within_partitions() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions);

        Assert.Equal((await rows.Glom().CollectAsync()).SelectMany(part => part.Chunk(4)), await rows.Chunk(4).CollectAsync());
    });
}
