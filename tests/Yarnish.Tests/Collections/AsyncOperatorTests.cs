using System.Runtime.CompilerServices;
using Xunit;
using Yarnish.Executor;

namespace Yarnish.Tests.Collections;

/// <summary>Steps with asynchronous functions: the results of LINQ, bounded, and ended when one fails.</summary>
public sealed class AsyncOperatorTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(100)]
    public Task Select_async_keeps_the_order_whatever_ends_first(int parallelism) => Agree(
        rows => rows.SelectAsync(
            static async row =>
            {
                // Some end at once, some later: results are not in the order of their ends.
                for (var i = 0; i < Math.Abs(row) % 4; i++)
                {
                    await Task.Yield();
                }
                return row * 2;
            },
            parallelism).CollectAsync(),
        rows => rows.Select(row => row * 2).ToArray());

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public Task Select_many_async_agrees_with_linq(int parallelism) => Agree(
        rows => rows.SelectManyAsync(static row => RepeatAsync(row, Math.Abs(row) % 4), parallelism).CollectAsync(),
        rows => rows.SelectMany(row => Enumerable.Repeat(row, Math.Abs(row) % 4)).ToArray());

    [Fact]
    public async Task Select_many_async_holds_back_what_is_not_yet_wanted_and_gives_it_all()
    {
        var rows = await Session.Range(0, 4, 1).SelectManyAsync(static row => RepeatAsync(row, 1_000), parallelism: 4).CollectAsync();

        Assert.Equal(Enumerable.Range(0, 4).SelectMany(row => Enumerable.Repeat(row, 1_000)), rows);
    }

    [Fact]
    public Task Map_partitions_async_agrees_with_linq() => Agree(
        rows => rows.MapPartitionsAsync(static rows => EvenAsync(rows)).CollectAsync(), rows => rows.Where(row => row % 2 == 0).ToArray());

    [Fact]
    public async Task Map_partitions_async_computes_its_rows_on_the_threads_of_the_slot()
    {
        // The step before it sees its task whichever thread asks for rows.
        var partitions = await Session.Range(0, 3_000, 3).Select(static _ => TaskContext.Current!.Partition).MapPartitionsAsync(static rows => EchoAsync(rows)).CollectAsync();

        Assert.Equal(Enumerable.Range(0, 3_000).Select(row => row / 1_000), partitions);
    }

    [Fact]
    public async Task A_function_knows_its_task_after_an_await()
    {
        Assert.Equal((int[])[0, 0, 1, 1], await Session.Range(0, 4, 2).SelectAsync(static async _ =>
        {
            await Task.Yield();
            return TaskContext.Current!.Partition;
        }).CollectAsync());
    }

    [Fact]
    public async Task Map_partitions_async_may_leave_rows_unread()
    {
        Assert.Equal((int[])[1, 1, 1], await Session.Range(0, 300, 3).MapPartitionsAsync(static rows => OneAsync(rows)).CollectAsync());
    }

    [Fact]
    public async Task No_more_functions_run_at_once_than_were_allowed()
    {
        var together = await Session.Range(0, 200, 1).SelectAsync(
            static async _ =>
            {
                var now = Interlocked.Increment(ref running);
                await Task.Yield();
                await Task.Yield();
                Interlocked.Decrement(ref running);
                return now;
            },
            parallelism: 5).MaxAsync();

        Assert.InRange(together, 1, 5);
    }

    private static int running;

    [Fact]
    public async Task A_function_that_fails_cancels_the_others_and_is_the_error_of_the_job()
    {
        // The first row would wait for ever if nobody cancelled it.
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 3, 1).SelectAsync(
            static async (row, cancellation) =>
            {
                await Task.Yield();
                if (row == 2)
                {
                    throw new FormatException("two is bad");
                }
                await Task.Delay(Timeout.Infinite, cancellation);
                return row;
            }).CollectAsync());

        Assert.Equal("System.FormatException", error.RemoteError!.Type);
        Assert.Contains("two is bad", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_function_that_throws_before_its_first_await_fails_the_job()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 3, 1).SelectAsync(static row => row < 9 ? throw new FormatException("at once") : Task.FromResult(row)).CountAsync());

        Assert.Equal("System.FormatException", error.RemoteError!.Type);
    }

    [Fact]
    public async Task A_stream_that_fails_half_way_fails_the_job()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 9, 2).SelectManyAsync(static row => FailingAsync(row)).CountAsync());
        Assert.Equal("System.FormatException", error.RemoteError!.Type);

        error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 9, 2).MapPartitionsAsync(static rows => FailingAsync(rows)).CountAsync());
        Assert.Equal("System.FormatException", error.RemoteError!.Type);
    }

    [Fact]
    public async Task An_error_of_the_step_before_passes_through()
    {
        var rows = Session.Range(0, 9, 2).Select(static row => row == 5 ? throw new FormatException("five") : row);

        Assert.Equal("System.FormatException", (await Assert.ThrowsAsync<YarnishJobException>(() => rows.SelectAsync(static async row => await Task.FromResult(row)).CountAsync())).RemoteError!.Type);
        Assert.Equal("System.FormatException", (await Assert.ThrowsAsync<YarnishJobException>(() => rows.MapPartitionsAsync(static rows => EchoAsync(rows)).CountAsync())).RemoteError!.Type);
    }

    [Fact]
    public async Task Cancelling_the_job_cancels_the_functions()
    {
        using var cancellation = new CancellationTokenSource();
        var job = Session.Range(0, 4, 1).SelectAsync(static async (row, stop) =>
        {
            started.Release();
            try
            {
                await Task.Delay(Timeout.Infinite, stop);
            }
            finally
            {
                ended.Release();
            }
            return row;
        }).CountAsync(cancellation.Token);

        for (var i = 0; i < 4; i++)
        {
            await started.WaitAsync(TestContext.Current.CancellationToken);
        }
        await cancellation.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => job);
        for (var i = 0; i < 4; i++)
        {
            await ended.WaitAsync(TestContext.Current.CancellationToken);
        }
    }

    private static readonly SemaphoreSlim started = new(0);
    private static readonly SemaphoreSlim ended = new(0);

    [Fact]
    public async Task Taking_a_few_rows_ends_the_functions_that_ran_ahead()
    {
        Assert.Equal((int[])[0], await Session.Range(0, 100, 1).SelectAsync(static async (row, stop) =>
        {
            await Task.Delay(row == 0 ? 0 : Timeout.Infinite, stop);
            return row;
        }).TakeAsync(1));
    }

    [Fact]
    public async Task For_each_async_reaches_every_row()
    {
        var directory = Directory.CreateTempSubdirectory("yarnish-foreach").FullName;
        try
        {
            await Session.Range(0, 20, 3).ForEachAsync((row, stop) => File.WriteAllTextAsync(Path.Combine(directory, $"{row}"), "", stop), parallelism: 2);
            Assert.Equal(20, Directory.GetFiles(directory).Length);

            await Session.Range(20, 20, 3).ForEachAsync(row => File.WriteAllText(Path.Combine(directory, $"{row}"), ""));
            Assert.Equal(40, Directory.GetFiles(directory).Length);

            var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 20, 3).ForEachAsync(static (row, _) => row == 7 ? Task.FromException(new FormatException("seven")) : Task.CompletedTask));
            Assert.Equal("System.FormatException", error.RemoteError!.Type);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public void No_parallelism_is_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Session.Range(0, 3).SelectAsync(static row => Task.FromResult(row), parallelism: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Session.Range(0, 3).SelectManyAsync(static row => RepeatAsync(row, 1), parallelism: 0));
    }

    private static async IAsyncEnumerable<int> RepeatAsync(int row, int times)
    {
        for (var i = 0; i < times; i++)
        {
            if (i % 2 == 0)
            {
                await Task.Yield();
            }
            yield return row;
        }
    }

    private static async IAsyncEnumerable<int> EvenAsync(IAsyncEnumerable<int> rows, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await foreach (var row in rows.WithCancellation(cancellation))
        {
            // Now on the slot's thread, now on another.
            if (row % 3 == 0)
            {
                await Task.Yield();
            }
            if (row % 2 == 0)
            {
                yield return row;
            }
        }
    }

    private static async IAsyncEnumerable<int> EchoAsync(IAsyncEnumerable<int> rows)
    {
        await Task.Yield();
        await foreach (var row in rows)
        {
            yield return row;
        }
    }

    private static async IAsyncEnumerable<int> OneAsync(IAsyncEnumerable<int> rows)
    {
        await foreach (var _ in rows)
        {
            await Task.Yield();
            yield return 1;
            yield break;
        }
    }

    private static async IAsyncEnumerable<int> FailingAsync(int row)
    {
        yield return row;
        await Task.Yield();
        throw new FormatException("half way");
    }

    private static async IAsyncEnumerable<int> FailingAsync(IAsyncEnumerable<int> rows)
    {
        await foreach (var row in rows)
        {
            yield return row;
            await Task.Yield();
            throw new FormatException("half way");
        }
    }
}
