using System.Reflection;
using Microsoft.CodeAnalysis;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Analyzers;

/// <summary>The same twelve programs, compiled and run: the analyzers mark each function, and the driver refuses each where it is given, before a job begins.</summary>
public sealed class TwelveMistakesTests
{
    private const string Source = """
        sealed class OrderJob
        {
            private readonly FileSystemWatcher watcher = new();
            private readonly int limit = 3;
            public int Watched => watcher.Filters.Count;
            public void A_member_of_this(Rdd<string> lines) => lines.Where(line => line.Length > [|YRN0001:limit|]);
        }

        sealed class Repository(Stream log)
        {
            public long Size => log.Length;
            public void A_parameter_of_the_constructor(Rdd<string> lines) => lines.Where(line => [|YRN0001:log|].Length > 0);
        }

        sealed record Settings(string Name, HttpClient Client);

        static class Mistakes
        {
            public static void A_member_of_this(Rdd<string> lines) => new OrderJob().A_member_of_this(lines);
            public static void A_parameter_of_the_constructor(Rdd<string> lines) => new Repository(Stream.Null).A_parameter_of_the_constructor(lines);
            public static void Another_collection(Rdd<string> lines) { var other = lines.Distinct(); lines.Where(line => [|YRN0002:other|].Partitions > 1); }
            public static void A_token_source(Rdd<string> lines) { var source = new CancellationTokenSource(); lines.Where(line => ![|YRN0002:source|].IsCancellationRequested); }
            public static void A_token(Rdd<string> lines) { var token = new CancellationTokenSource().Token; lines.Select(line => [|YRN0002:token|].IsCancellationRequested); }
            public static void A_stream(Rdd<string> lines) { var stream = Stream.Null; lines.Select(line => [|YRN0003:stream|].Length); }
            public static void A_client_inside_a_record(Rdd<string> lines) { var settings = new Settings("x", new()); lines.Select(line => [|YRN0003:settings|].Name); }
            public static void A_task(Rdd<string> lines) { var task = Task.FromResult(1); lines.SelectMany(line => new[] { [|YRN0003:task|].Id }); }
            public static void A_thread(Rdd<string> lines) { var thread = new Thread(() => { }); lines.CountBy(line => [|YRN0003:thread|].IsAlive); }
            public static void A_lock(Rdd<string> lines) { var gate = new SemaphoreSlim(1); lines.MapPartitions(rows => rows.Take([|YRN0003:gate|].CurrentCount)); }
            public static void A_random_generator(Rdd<string> lines) { var random = new Random(1); lines.OrderBy(line => [|YRN0003:random|].Next()); }
            public static void A_reader_in_a_local_function(Rdd<string> lines) { var reader = TextReader.Null; bool Is(string line) => [|YRN0003:reader|].Peek() > 0; lines.Where(Is); }
        }
        """;

    [Fact]
    public async Task Each_is_marked_while_compiling() => Assert.Equal(12, (await Compiled.HasAsync(Source)).Length);

    [Fact]
    public async Task Each_is_refused_at_its_call_site_before_a_job_begins()
    {
        var folder = Directory.CreateTempSubdirectory("yarnish-mistakes-");
        try
        {
            var file = Path.Combine(folder.FullName, "Mistakes.dll");
            var emitted = Compiled.Compilation(Source).Emit(file);
            Assert.Empty(emitted.Diagnostics.Where(found => found.Severity == DiagnosticSeverity.Error));
            await using var session = await YarnishSession.CreateBuilder().WithName("mistakes").WithProgress(ProgressStyle.None).Isolated()
                .Configure(static options => options.Address = "").ConnectAsync(TestContext.Current.CancellationToken);
            var lines = session.Parallelize(["a", "b"]);
            var mistakes = Assembly.LoadFile(file).GetType("Mistakes")!.GetMethods(BindingFlags.Public | BindingFlags.Static);

            Assert.Equal(12, mistakes.Length);
            Assert.All(mistakes, mistake =>
            {
                var error = Assert.IsType<ClosureException>(Assert.Throws<TargetInvocationException>(() => mistake.Invoke(null, [lines])).InnerException);
                Assert.Matches(@"^\w+\(.+\) at Program.cs:\d+ captures '.+ — .+\. .+\.$", error.Message);
            });
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
