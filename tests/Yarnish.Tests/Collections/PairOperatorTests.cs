using Xunit;

namespace Yarnish.Tests.Collections;

/// <summary>Operators on keys and values against LINQ.</summary>
public sealed class PairOperatorTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public Task Combine_by_key_agrees_with_linq(bool mapSideCombine) => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 5)
            .CombineByKey(static row => (Sum: (long)row, Count: 1), static (sum, row) => (sum.Sum + row, sum.Count + 1), static (left, right) => (left.Sum + right.Sum, left.Count + right.Count), mapSideCombine: mapSideCombine),
        rows => rows.GroupBy(row => row % 5).Select(group => KeyValuePair.Create(group.Key, (group.Sum(row => (long)row), group.Count()))));

    [Fact]
    public Task Combine_by_key_without_map_side_combine_merges_in_the_order_of_the_input() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 3).CombineByKey(static row => $"{row}", static (text, row) => $"{text},{row}", static (left, right) => $"{left},{right}", mapSideCombine: false),
        rows => rows.GroupBy(row => row % 3).Select(group => KeyValuePair.Create(group.Key, string.Join(",", group))));

    [Fact]
    public Task Fold_by_key_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 5).FoldByKey(-100, static (left, right) => Math.Max(left, right)),
        rows => rows.GroupBy(row => row % 5).Select(group => KeyValuePair.Create(group.Key, group.Max())));

    [Fact]
    public async Task The_seed_of_a_fold_is_new_for_every_key()
    {
        var lists = await Session.Range(0, 20, 3).Select(static row => KeyValuePair.Create(row % 2, new List<int> { row }))
            .FoldByKey([], static (left, right) =>
            {
                left.AddRange(right);
                return left;
            }).CollectAsync();

        Assert.All(lists, pair => Assert.Equal(Enumerable.Range(0, 20).Where(row => row % 2 == pair.Key), pair.Value.Order()));
    }

    [Fact]
    public async Task What_a_task_does_to_its_rows_the_next_task_does_not_see()
    {
        // Both jobs read the same shuffle; lists are changed in place by the functions.
        var lists = Sharing.Range(0, 100, 4).KeyBy(static row => row % 3)
            .AggregateByKey(new List<int>(), static (list, row) => [.. list, row], static (left, right) =>
            {
                left.AddRange(right);
                return left;
            });

        var first = await lists.CollectAsync();
        var second = await lists.CollectAsync();

        Assert.Equal(first.Select(pair => pair.Value.Count).Order(), second.Select(pair => pair.Value.Count).Order());
        Assert.Equal(100, second.Sum(pair => pair.Value.Count));
    }

    [Fact]
    public async Task A_row_of_a_derived_type_is_refused_whether_or_not_rows_are_shared()
    {
        foreach (var session in new[] { Session, Sharing })
        {
            var rows = session.Range(0, 10, 2).Select(static row => KeyValuePair.Create(row, row == 7 ? new Dog("rex", 3) : new Animal("some")));

            var error = await Assert.ThrowsAsync<YarnishJobException>(() => rows.GroupByKey().CountAsync(TestContext.Current.CancellationToken));

            Assert.Contains("only the fields of", error.Message, StringComparison.Ordinal);
        }
    }

    internal record Animal(string Name);

    internal sealed record Dog(string Name, int Age) : Animal(Name);

    [Fact]
    public Task Subtract_by_key_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 7).SubtractByKey(rows.Where(static row => row > 5).KeyBy(static row => row % 5)),
        rows =>
        {
            var keys = rows.Where(row => row > 5).Select(row => row % 5).ToHashSet();
            return rows.Where(row => !keys.Contains(row % 7)).Select(row => KeyValuePair.Create(row % 7, row));
        });

    [Fact]
    public Task Select_many_values_agrees_with_linq() => Agree(
        rows => rows.KeyBy(static row => row % 3).SelectManyValues(static row => Enumerable.Repeat($"{row}", Math.Abs(row) % 3)).CollectAsync(),
        rows => rows.SelectMany(row => Enumerable.Repeat(KeyValuePair.Create(row % 3, $"{row}"), Math.Abs(row) % 3)).ToArray());

    [Fact]
    public Task Keys_values_and_select_values_agree_with_linq() => Agree(
        rows => rows.KeyBy(static row => row % 3).SelectValues(static row => row * 2).Select(static pair => pair.Key + pair.Value)
            .Union(rows.KeyBy(static row => row % 3).Keys()).Union(rows.KeyBy(static row => row % 3).Values()).CollectAsync(),
        rows => rows.Select(row => (row % 3) + (row * 2)).Concat(rows.Select(row => row % 3)).Concat(rows).ToArray());

    [Fact]
    public Task Co_group_of_three_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 4)
            .CoGroup(rows.Where(static row => row > 0).KeyBy(static row => row % 3), rows.Where(static row => row < 0).Select(static row => KeyValuePair.Create(row % 6, $"{row}")))
            .Select(static pair => $"{pair.Key}: {string.Join(",", pair.Value.First)} | {string.Join(",", pair.Value.Second)} | {string.Join(",", pair.Value.Third)}"),
        rows =>
        {
            var (first, second, third) = (rows.ToLookup(row => row % 4), rows.Where(row => row > 0).ToLookup(row => row % 3), rows.Where(row => row < 0).ToLookup(row => row % 6));
            return first.Select(group => group.Key).Union(second.Select(group => group.Key)).Union(third.Select(group => group.Key))
                .Select(key => $"{key}: {string.Join(",", first[key])} | {string.Join(",", second[key])} | {string.Join(",", third[key])}");
        });

    [Fact]
    public Task Co_group_of_four_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 4)
            .CoGroup(
                rows.Where(static row => row > 0).KeyBy(static row => row % 3), rows.Where(static row => row < 0).KeyBy(static row => row % 6).ReduceByKey(static (left, right) => left + right),
                rows.KeyBy(static row => row / 8))
            .Select(static pair => $"{pair.Key}: {pair.Value.First.Length} {string.Join(",", pair.Value.Second)} | {pair.Value.Third.Sum()} | {string.Join(",", pair.Value.Fourth)}"),
        rows =>
        {
            var (first, second) = (rows.ToLookup(row => row % 4), rows.Where(row => row > 0).ToLookup(row => row % 3));
            var (third, fourth) = (rows.Where(row => row < 0).ToLookup(row => row % 6), rows.ToLookup(row => row / 8));
            return first.Select(group => group.Key).Union(second.Select(group => group.Key)).Union(third.Select(group => group.Key)).Union(fourth.Select(group => group.Key))
                .Select(key => $"{key}: {first[key].Count()} {string.Join(",", second[key])} | {third[key].Sum()} | {string.Join(",", fourth[key])}");
        });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task Lookup_agrees_with_linq(bool partitioned) => Agree(
        rows =>
        {
            var pairs = rows.KeyBy(static row => row % 4);
            return (partitioned ? pairs.RepartitionAndSortWithinPartitions(new HashPartitioner<int>(3)) : pairs).LookupAsync(2);
        },
        rows => rows.Where(row => row % 4 == 2).ToArray());

    [Fact]
    public async Task Lookup_of_a_partitioned_collection_computes_one_partition()
    {
        var pairs = Session.Range(0, 100, 4).KeyBy(static row => row % 10).PartitionBy(new HashPartitioner<int>(8));
        await pairs.CountAsync();
        var before = Session.Progress.TasksSucceeded;

        Assert.Equal(10, (await pairs.LookupAsync(7)).Length);
        Assert.Equal(before + 1, Session.Progress.TasksSucceeded);
    }

    [Fact]
    public Task Count_by_key_and_by_value_agree_with_linq() => Agree(
        async rows => (await rows.KeyBy(static row => row % 3).CountByKeyAsync()).Concat(await rows.CountByValueAsync()).OrderBy(pair => pair.Key).ThenBy(pair => pair.Value).ToArray(),
        rows => rows.CountBy(row => row % 3).Concat(rows.CountBy(row => row)).Select(pair => KeyValuePair.Create(pair.Key, (long)pair.Value)).OrderBy(pair => pair.Key).ThenBy(pair => pair.Value).ToArray());

    [Fact]
    public Task To_dictionary_agrees_with_linq() => Agree(
        async rows => (await rows.Distinct().KeyBy(static row => $"{row}").ToDictionaryAsync()).OrderBy(pair => pair.Value).ToArray(),
        rows => rows.Distinct().ToDictionary(row => $"{row}").OrderBy(pair => pair.Value).ToArray());

    [Fact]
    public async Task To_dictionary_refuses_a_key_that_occurs_twice()
    {
        var error = await Assert.ThrowsAsync<ArgumentException>(() => Session.Parallelize([KeyValuePair.Create("one", 1), KeyValuePair.Create("one", 2)], 2).ToDictionaryAsync());

        Assert.Contains("key 'one' occurs more than once", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_that_are_arrays_are_told_apart_by_their_items()
    {
        var counts = await Session.Parallelize([1, 2, 3, 4], 3).Select(static row => KeyValuePair.Create(new[] { row % 2 }, row)).CountByKeyAsync();

        Assert.Equal(2, counts[[0]]);
        Assert.Equal(2, counts[[1]]);
    }

    [Fact]
    public async Task A_key_that_is_null_fails_the_job_in_words_of_the_user()
    {
        var rows = Session.Parallelize(["a", null], 2);
        var pairs = rows.KeyBy(static row => row!);
        foreach (var action in new Func<Task>[]
        {
            () => rows.CountBy(static row => row!).CollectAsync(), () => rows.GroupBy(static row => row!).CollectAsync(), () => pairs.ReduceByKey(static (left, _) => left).CollectAsync(),
            () => pairs.Join(pairs).CollectAsync(), () => pairs.PartitionBy(new HashPartitioner<string>(2)).CollectAsync(),
        })
        {
            Assert.Contains("The key of a row is null", (await Assert.ThrowsAsync<YarnishJobException>(action)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Sides_of_different_sessions_are_refused()
    {
        await using var other = await YarnishSession.CreateBuilder([]).WithProgress(ProgressStyle.None).ConnectAsync();

        Assert.Throws<InvalidOperationException>(() => Session.Range(0, 1).KeyBy(static row => row).Join(other.Range(0, 1).KeyBy(static row => row)));
    }
}
