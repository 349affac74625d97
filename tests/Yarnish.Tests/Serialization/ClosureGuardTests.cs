using System.Linq.Expressions;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

/// <summary>Functions that cannot travel, each refused with the way to the culprit and the cure.</summary>
public sealed class ClosureGuardTests
{
    private static void Refused(Delegate function, string message) =>
        Assert.Equal(message, Assert.Throws<ClosureException>(() => ClosureGuard.Check(function, "Where", "Program.cs:42")).Message);

    private sealed class OrderJob(ClosureSerializerTests.FakeConnection connection)
    {
        private readonly ClosureSerializerTests.FakeConnection _db = connection;
        private readonly int _limit = 3;

        public Func<string, bool> Long() => line => line.Length > _limit;

        public string Describe() => _db.Database;
    }

    private sealed class Repository(ClosureSerializerTests.FakeConnection connection)
    {
        public Func<string, string> Name() => line => line + connection.Database;
    }

    [Fact]
    public void A_connection_behind_this()
    {
        Refused(
            new OrderJob(new()).Long(),
            "Where(line => …) at Program.cs:42 captures 'this' (OrderJob) → OrderJob._db : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
    }

    [Fact]
    public void A_connection_captured_by_a_primary_constructor() => Refused(
        new Repository(new()).Name(),
        "Where(line => …) at Program.cs:42 captures 'this' (Repository) → Repository.connection : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");

    [Fact]
    public void A_captured_connection()
    {
        using var connection = new ClosureSerializerTests.FakeConnection();
        Func<int, string> function = id => connection.Database + id;

        Refused(function, "Where(id => …) at Program.cs:42 captures 'connection' : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
    }

    private sealed class Configuration
    {
        public Dictionary<string, Service> Services { get; } = [];

        public ILogger Logger { get; init; } = NullLogger.Instance;
    }

    private sealed record Service(string Name, Stream? Input);

    [Fact]
    public void A_logger_deep_inside()
    {
        var configuration = new Configuration();
        Func<int, string> function = x => configuration.Services.Count + "" + x;

        Refused(function, "Where(x => …) at Program.cs:42 captures 'configuration' (Configuration) → Configuration.Logger : NullLogger — loggers cannot leave the driver. Use TaskContext.Current.Logger inside the function.");
    }

    [Fact]
    public void A_stream_in_a_collection()
    {
        var services = new List<Service> { new("a", null), new("b", Stream.Null) };
        var byName = new Dictionary<string, Service> { ["b"] = new("b", Stream.Null) };

        Refused(() => services.Count, "Where(() => …) at Program.cs:42 captures 'services' (List<Service>)[1] → Service.Input : Stream — streams cannot leave the driver. Capture the path and open the file inside MapPartitions.");
        Refused(() => byName.Count, "Where(() => …) at Program.cs:42 captures 'byName' (Dictionary<string, Service>)[0].value → Service.Input : Stream — streams cannot leave the driver. Capture the path and open the file inside MapPartitions.");
    }

    private sealed class Session : IDriverOnly;

    [Fact]
    public void The_session_itself()
    {
        var session = new Session();

        Refused(
            () => session.ToString(),
            "Where(() => …) at Program.cs:42 captures 'session' : Session — the session and its collections exist only in the driver. Join the two collections, or collect the small one and capture its rows (many of them: as session.Broadcast(rows)).");
    }

    [Fact]
    public void Things_that_belong_to_one_process()
    {
        using var client = new HttpClient();
        using var source = new CancellationTokenSource();
        using var timer = new Timer(_ => { });
        using var semaphore = new SemaphoreSlim(1);
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
        var gate = new Lock();
        var token = source.Token;
        var task = Task.FromResult(1);
        var thread = new Thread(() => { });
        var random = new Random(1);
        var services = new ServiceContainer();
        nint handle = 5;
        var lazy = new Lazy<int>(() => 1);
        var call = new AsyncLocal<int>();

        Refused(() => client.Timeout, "Where(() => …) at Program.cs:42 captures 'client' : HttpClient — HTTP clients cannot leave the driver. Use a static HttpClient (one for each executor) or create one inside MapPartitions.");
        Refused(() => source.Token, "Where(() => …) at Program.cs:42 captures 'source' : CancellationTokenSource — cancellation sources cannot leave the driver. Cancel the action instead, and look at TaskContext.Current.Cancellation inside the function.");
        Refused(() => token.CanBeCanceled, "Where(() => …) at Program.cs:42 captures 'token' : CancellationToken — cancellation tokens cannot leave the driver. Pass it to the action, and look at TaskContext.Current.Cancellation inside the function.");
        Refused(() => timer.ToString(), "Where(() => …) at Program.cs:42 captures 'timer' : Timer — timers cannot leave the driver. Start one inside MapPartitions if the work needs it.");
        Refused(() => semaphore.CurrentCount, "Where(() => …) at Program.cs:42 captures 'semaphore' : SemaphoreSlim — a lock guards the memory of one process: executors would not share it. Use an accumulator, or aggregate the rows.");
        Refused(() => gate.IsHeldByCurrentThread, "Where(() => …) at Program.cs:42 captures 'gate' : Lock — a lock guards the memory of one process: executors would not share it. Use an accumulator, or aggregate the rows.");
        Refused(() => socket.Connected, "Where(() => …) at Program.cs:42 captures 'socket' : Socket — sockets cannot leave the driver. Capture the address and connect inside MapPartitions.");
        Refused(() => task.Status, "Where(() => …) at Program.cs:42 captures 'task' : Task<int> — a running task cannot leave the driver. Await it first and capture its result.");
        Refused(() => thread.IsAlive, "Where(() => …) at Program.cs:42 captures 'thread' : Thread — threads cannot leave the driver. Tasks already run in parallel: call the work directly.");
        Refused(() => random.Next(), "Where(() => …) at Program.cs:42 captures 'random' : Random — a random generator would give every partition the same numbers. Create one inside MapPartitions, seeded with TaskContext.Current.Partition.");
        Refused(() => services.GetService(typeof(int)), "Where(() => …) at Program.cs:42 captures 'services' : ServiceContainer — service providers cannot leave the driver. Resolve the values you need to locals first, or build the services inside MapPartitions.");
        Refused(() => handle + 1, "Where(() => …) at Program.cs:42 captures 'handle' : nint — a native handle means nothing in another process. Open the resource inside MapPartitions.");
        Refused(() => lazy.Value, "Where(() => …) at Program.cs:42 captures 'lazy' : Lazy<int> — its value has not been made yet, and its factory runs only once in one process. Read its Value first, or make it a static field.");
        Refused(() => call.Value, "Where(() => …) at Program.cs:42 captures 'call' : AsyncLocal<int> — thread and call context stays in its process. Copy its value to a local first.");
    }

    private sealed class ServiceContainer : IServiceProvider
    {
        public object? GetService(Type serviceType) => null;
    }

    private static IEnumerable<int> Numbers()
    {
        yield return 1;
    }

    [Fact]
    public void Lazy_sequences()
    {
        var numbers = Numbers();
        var query = new[] { 1, 2 }.Where(x => x > 1);
        var enumerator = new List<int> { 1 }.GetEnumerator();

        Refused(() => numbers.Count(), "Where(() => …) at Program.cs:42 captures 'numbers' : iterator Numbers — a lazy sequence runs where it was made. Copy its items to an array or list first.");
        Refused(() => query.Count(), "Where(() => …) at Program.cs:42 captures 'query' : IEnumerable<int> — a lazy sequence runs where it was made. Copy its items to an array or list first.");
        Refused(() => enumerator.Current, "Where(() => …) at Program.cs:42 captures 'enumerator' : Enumerator — a lazy sequence runs where it was made. Copy its items to an array or list first.");
    }

    private sealed class Words : List<string>;

    [Fact]
    public void Types_that_keep_their_state_to_themselves()
    {
        var options = new System.Text.Json.JsonSerializerOptions();
        var words = new Words();
        var failure = new InvalidOperationException("x");

        Refused(() => options.MaxDepth, "Where(() => …) at Program.cs:42 captures 'options' : JsonSerializerOptions — it is a type of the framework that keeps its state to itself. Create it inside the function, or hold it in a static field.");
        Refused(() => words.Count, "Where(() => …) at Program.cs:42 captures 'words' : Words — it derives from List<string>, a type of the framework that keeps its state to itself. Hold a List<string> in a field instead, if that can travel.");
        Refused(() => failure.Message, "Where(() => …) at Program.cs:42 captures 'failure' : InvalidOperationException — it is a type of the framework that keeps its state to itself. Create it inside the function, or hold it in a static field.");
    }

    [Fact]
    public void Functions_without_a_file()
    {
        Func<int, int> one = x => x;
        var two = one + (x => x + 1);
        Expression<Func<int, int>> expression = x => x + 1;
        var compiled = expression.Compile();
        var dynamic = new DynamicMethod("Twice", typeof(int), [typeof(int)]);
        var code = dynamic.GetILGenerator();
        code.Emit(OpCodes.Ldarg_0);
        code.Emit(OpCodes.Ret);
        var made = dynamic.CreateDelegate<Func<int, int>>();

        Refused(two, "Where(x => …) at Program.cs:42 cannot travel: it calls 2 functions (delegates joined with +). Pass one function that calls the others.");
        Refused(compiled, "Where(…) at Program.cs:42 cannot travel: it was compiled from an expression tree at run time: its code is in no file. Write it as a lambda.");
        Refused(made, "Where(…) at Program.cs:42 cannot travel: it was made at run time (DynamicMethod): its code is in no file. Write it as a lambda.");
        Refused(() => compiled(1), "Where(() => …) at Program.cs:42 captures 'compiled' : Func<int, int> — it was compiled from an expression tree at run time: its code is in no file. Write it as a lambda.");
        Refused(() => expression.Body, "Where(() => …) at Program.cs:42 captures 'expression' : Expression<Func<int, int>> — expression trees do not travel. Write the function as a lambda.");
        Refused((Func<string, string[]>)File.ReadAllLines, "Where(File.ReadAllLines) at Program.cs:42 cannot travel: it is File.ReadAllLines of the framework itself. Wrap it in a lambda.");
    }

    [Fact]
    public void Code_loaded_from_memory_or_to_be_unloaded()
    {
        var file = typeof(ClosureGuardTests).Assembly.Location;
        var collectible = new System.Runtime.Loader.AssemblyLoadContext("test", isCollectible: true);
        var unloadable = Function(collectible.LoadFromAssemblyPath(file));
        var inMemory = Function(new System.Runtime.Loader.AssemblyLoadContext("memory").LoadFromStream(new MemoryStream(File.ReadAllBytes(file))));

        Refused(unloadable, "Where(ClosureGuardTests.Half) at Program.cs:42 cannot travel: ClosureGuardTests: its code is in a collectible load context, which executors do not have. Load its assembly into the default context.");
        Refused(inMemory, "Where(ClosureGuardTests.Half) at Program.cs:42 cannot travel: ClosureGuardTests: its code is in no file of its own: it was loaded from memory, or the program is published as a single file. Publish without PublishSingleFile.");
        collectible.Unload();

        static Func<int, int> Function(System.Reflection.Assembly assembly) => assembly.GetType(typeof(ClosureGuardTests).FullName!)!
            .GetMethod(nameof(Half), System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.NonPublic)!.CreateDelegate<Func<int, int>>();
    }

    private static int Half(int number) => number / 2;

    [Fact]
    public void A_connection_in_a_nested_scope_of_a_function_that_another_calls()
    {
        using var connection = new ClosureSerializerTests.FakeConnection();
        Func<string> inner = () => connection.Database;
        Func<int, string>? outer = null;
        foreach (var name in new[] { "a" })
        {
            outer = x => name + x + inner();
        }

        Refused(
            outer!,
            "Where(x => …) at Program.cs:42 captures 'connection' : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
    }

    [Fact]
    public void A_connection_that_an_async_lambda_or_local_function_reads()
    {
        using var connection = new ClosureSerializerTests.FakeConnection();
        Func<Task<string>> work = async () =>
        {
            await Task.Yield();
            return connection.Database;
        };
        string Name(int id) => connection.Database + id;

        Refused(work, "Where(() => …) at Program.cs:42 captures 'connection' : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
        Refused((Func<int, string>)Name, "Where(Name) at Program.cs:42 captures 'connection' : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.");
    }

    private sealed class Program1(Func<int, int> operation)
    {
        public Func<int, int> Operation { get; } = operation;
    }

    [Fact]
    public void A_stage_program_tells_the_way_through_its_operators()
    {
        using var connection = new ClosureSerializerTests.FakeConnection();
        var program = new Program1(x => x + connection.Database.Length);

        Assert.Equal(
            "Stage 3 holds Program1.Operation → 'connection' : FakeConnection — connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first.",
            Assert.Throws<ClosureException>(() => ClosureSerializer.Serialize(program, "Stage 3")).Message);
    }

    [Fact]
    public void Large_captures_are_warned_of_and_refused_with_what_weighs_most()
    {
        var small = new int[10];
        var names = Enumerable.Range(0, 2_000).Select(number => $"name {number}").ToList();
        var table = Enumerable.Range(0, 50_000).ToArray();
        var huge = new byte[9_000_000];
        Func<int> large = () => small.Length + names.Count + table.Length;
        Func<int> tooLarge = () => names.Count + huge.Length;

        Assert.Null(ClosureGuard.Check(() => small.Length, "Where", ""));
        Assert.Equal(
            "Where(() => …) at Program.cs:42 captures 305 KiB, which every executor fetches and every task reads. The largest: 'table' (int[]) 282 KiB, 'names' (List<string>) 22 KiB. "
            + "Use a Broadcast for large values (session.Broadcast(value), then its Value inside the function), or read them inside MapPartitions.",
            ClosureGuard.Check(large, "Where", "Program.cs:42"));
        Refused(
            tooLarge,
            "Where(() => …) at Program.cs:42 captures 11.5 MiB, and a function may carry 8.0 MiB at most. The largest: 'huge' (byte[]) 11.4 MiB, 'names' (List<string>) 22 KiB. "
            + "Use a Broadcast for large values (session.Broadcast(value), then its Value inside the function), or read them inside MapPartitions.");
    }

    [Fact]
    public void Captured_objects_without_end_are_refused_before_they_are_written()
    {
        var items = Enumerable.Range(0, 300_001).Select(number => new StrongBox<int>(number)).ToArray();

        Refused(() => items.Length, "Where(() => …) at Program.cs:42 captures more than 300,000 objects (at 'items' (StrongBox<int>[])[299997]). Use a Broadcast for large values (session.Broadcast(value), then its Value inside the function), or read them inside MapPartitions.");
    }
}
