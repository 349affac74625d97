using CsCheck;
using Xunit;

namespace Yarnish.Tests.Collections;

/// <summary>Two embedded sessions, shared by the tests of a class: one that serializes everything as a fleet would, and one in which rows cross shuffles as they are.</summary>
public sealed class IsolatedSession : IAsyncLifetime
{
    public YarnishSession Session { get; private set; } = null!;

    public YarnishSession Sharing { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Session = await Builder().Isolated().ConnectAsync();
        Sharing = await Builder().ConnectAsync();

        static YarnishSessionBuilder Builder() => YarnishSession.CreateBuilder([]).WithName("collections").Configure(options => options.Progress = ProgressStyle.None);
    }

    public async ValueTask DisposeAsync()
    {
        await Session.DisposeAsync();
        await Sharing.DisposeAsync();
    }
}

/// <summary>The law of collections: an operator gives what LINQ to Objects gives on the same rows, however they are cut into partitions.</summary>
public abstract class LinqAgreement(IsolatedSession isolated) : IClassFixture<IsolatedSession>
{
    private const int Samples = 15;

    // Few different values, so that keys meet; empty collections, empty partitions and more partitions than rows included.
    private static readonly Gen<(int[] Rows, int Partitions)> Cases = Gen.Select(Gen.Int[-20, 20].Array[0, 60], Gen.Int[1, 7]);

    protected YarnishSession Session { get; } = isolated.Session;

    /// <summary>Not isolated.</summary>
    protected YarnishSession Sharing { get; } = isolated.Sharing;

    /// <summary>The same values in the same order.</summary>
    protected Task Agree<TResult>(Func<Rdd<int>, Task<TResult>> ours, Func<IEnumerable<int>, TResult> linq) =>
        EachAsync(async sample =>
        {
            Assert.Equal(linq(sample.Rows), await ours(Session.Parallelize(sample.Rows, sample.Partitions)));
            Assert.Equal(linq(sample.Rows), await ours(Sharing.Parallelize(sample.Rows, sample.Partitions)));
        });

    /// <summary>The same rows, whatever their order.</summary>
    protected Task AgreeInAnyOrder<T>(Func<Rdd<int>, Rdd<T>> ours, Func<IEnumerable<int>, IEnumerable<T>> linq) =>
        EachAsync(async sample =>
        {
            var expected = linq(sample.Rows).Select(row => $"{row}").Order(StringComparer.Ordinal).ToArray();
            foreach (var session in new[] { Session, Sharing })
            {
                Assert.Equal(expected, (await ours(session.Parallelize(sample.Rows, sample.Partitions)).CollectAsync()).Select(row => $"{row}").Order(StringComparer.Ordinal));
            }
        });

    /// <summary>Random rows in a random number of partitions, many times.</summary>
    protected static Task EachAsync(Func<(int[] Rows, int Partitions), Task> law) => Cases.SampleAsync(law, iter: Samples, threads: 1);
}
