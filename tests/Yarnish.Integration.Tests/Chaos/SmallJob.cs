using System.Globalization;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>The job that faults happen to: eight map tasks, a shuffle, four reduce tasks, sums that anybody can check; every run of a task is on record.</summary>
internal static class SmallJob
{
    public const int Maps = 8;

    public const int Reduces = 4;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private static readonly KeyValuePair<int, long>[] Expected =
        [.. Enumerable.Range(0, 10).Select(static key => KeyValuePair.Create(key, Enumerable.Range(0, 4_000).Where(number => number % 10 == key).Sum(static number => (long)number)))];

    /// <summary>A session with two executors that have joined. Deaths are told by the agents; silence alone counts late, so that a busy machine is no fault of its own.</summary>
    public static async Task<YarnishSession> OpenAsync(TestCluster cluster)
    {
        var session = await YarnishSession.CreateBuilder()
            .WithName("chaos").WithAddress(cluster.Address).WithExecutors(2).WithExecutorMemory(256 << 20).WithProgress(ProgressStyle.None)
            .Configure(static options => options.ExecutorTimeout = TimeSpan.FromSeconds(60))
            .ConnectAsync(TestContext.Current.CancellationToken);
        // The first job makes the driver ask; it is over before both have come, so it is not the last.
        await cluster.UntilAsync("two executors have joined", async () => await session.Range(0, 2, 2).CountAsync() == 2 && session.Progress.Executors == 2);
        return session;
    }

    /// <summary>Starts it; the faults are in the functions.</summary>
    /// <param name="session">Where.</param>
    /// <param name="field">What its tasks share with the test.</param>
    /// <param name="map">Called by each map task with its partition when half of its rows are through.</param>
    /// <param name="reduce">Called by each reduce task with its partition before it reads its rows.</param>
    public static Task<KeyValuePair<int, long>[]> RunAsync(YarnishSession session, Field field, Action<string, int>? map = null, Action<string, int>? reduce = null)
    {
        var path = field.Path;
        return session.Range(0, 4_000, Maps)
            .MapPartitions((partition, rows) => Map(path, map, partition, rows))
            .ReduceByKey(static (left, right) => left + right, Reduces)
            .MapPartitions((partition, rows) => Reduce(path, reduce, partition, rows))
            .CollectAsync();
    }

    /// <summary>Waits for the end and checks the sums.</summary>
    public static async Task AssertRightAsync(Task<KeyValuePair<int, long>[]> job, TestCluster cluster)
    {
        try
        {
            Assert.Equal(Expected, (await job.WaitAsync(Patience)).OrderBy(static pair => pair.Key));
        }
        catch (Exception error) when (error is TimeoutException or YarnishJobException)
        {
            throw new InvalidOperationException($"{error.Message}{Environment.NewLine}{cluster.Logs()}", error);
        }
    }

    private static IEnumerable<KeyValuePair<int, long>> Map(string field, Action<string, int>? fault, int partition, IEnumerable<int> rows)
    {
        Field.Note(field, string.Create(CultureInfo.InvariantCulture, $"map-{partition}"));
        var count = 0;
        foreach (var row in rows)
        {
            if (++count == 2_000 / Maps)
            {
                fault?.Invoke(field, partition);
            }
            yield return KeyValuePair.Create(row % 10, (long)row);
        }
    }

    private static IEnumerable<KeyValuePair<int, long>> Reduce(string field, Action<string, int>? fault, int partition, IEnumerable<KeyValuePair<int, long>> rows)
    {
        Field.Note(field, string.Create(CultureInfo.InvariantCulture, $"reduce-{partition}"));
        fault?.Invoke(field, partition);
        foreach (var row in rows)
        {
            yield return row;
        }
    }
}
