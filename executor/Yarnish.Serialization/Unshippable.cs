using System.Data;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Yarnish.Serialization;

/// <summary>What can never leave a process, and what to do instead: shared by rows and closures.</summary>
internal static class Unshippable
{
    /// <summary>Why a type cannot leave this process, as <c>reason. Cure.</c>; null when nothing is known against it.</summary>
    public static string? Reason(Type type) => type switch
    {
        { IsPointer: true } or { IsFunctionPointer: true } => "a pointer means nothing in another process. Send the data it points to.",
        { IsByRef: true } or { IsByRefLike: true } => "it lives on the stack of one call. Copy its content to an array.",
        _ when type == typeof(nint) || type == typeof(nuint) => "a native handle means nothing in another process. Open the resource inside MapPartitions.",
        _ when type.IsCOMObject => "a COM object belongs to this process. Create it inside MapPartitions.",
        _ => Kinds.FirstOrDefault(kind => kind.Matches(type))?.Reason,
    };

    private sealed record Kind(Func<Type, bool> Matches, string Reason);

    private static Kind Is<T>(string reason) => new(typeof(T).IsAssignableFrom, reason);

    private static Kind Named(string fullName, string reason) => new(type => IsOrImplements(type, fullName), reason);

    // Order matters: the first match speaks.
    private static readonly Kind[] Kinds =
    [
        Is<IDriverOnly>("the session and its collections exist only in the driver. Join the two collections, or collect the small one and capture its rows (many of them: as session.Broadcast(rows))."),
        Is<IDbConnection>("connections cannot leave the driver. Open it inside MapPartitions, or copy the value you need to a local first."),
        Is<IDbTransaction>("transactions cannot leave the driver. Write inside ForEachPartitionAsync with a transaction of its own."),
        Is<IDbCommand>("database commands cannot leave the driver. Create it inside MapPartitions."),
        Is<IDataReader>("database readers cannot leave the driver. Read the rows first, or query inside MapPartitions."),
        Is<Stream>("streams cannot leave the driver. Capture the path and open the file inside MapPartitions."),
        Is<TextReader>("readers cannot leave the driver. Capture the path or the text and open the reader inside MapPartitions."),
        Is<TextWriter>("writers cannot leave the driver. Open one inside ForEachPartitionAsync, or collect the rows and write them in the driver."),
        Is<Socket>("sockets cannot leave the driver. Capture the address and connect inside MapPartitions."),
        Is<TcpClient>("network clients cannot leave the driver. Capture the address and connect inside MapPartitions."),
        Is<UdpClient>("network clients cannot leave the driver. Capture the address and connect inside MapPartitions."),
        Is<HttpMessageInvoker>("HTTP clients cannot leave the driver. Use a static HttpClient (one for each executor) or create one inside MapPartitions."),
        Is<HttpMessageHandler>("HTTP handlers cannot leave the driver. Create one inside MapPartitions."),
        Is<SafeHandle>("operating system handles cannot leave the process. Open the resource inside MapPartitions."),
        Is<GCHandle>("handles to memory cannot leave the process. Capture the object itself."),
        Is<Thread>("threads cannot leave the driver. Tasks already run in parallel: call the work directly."),
        Is<Task>("a running task cannot leave the driver. Await it first and capture its result."),
        new(type => type == typeof(ValueTask) || IsGeneric(type, typeof(ValueTask<>)), "a running task cannot leave the driver. Await it first and capture its result."),
        Is<CancellationTokenSource>("cancellation sources cannot leave the driver. Cancel the action instead, and look at TaskContext.Current.Cancellation inside the function."),
        Is<CancellationToken>("cancellation tokens cannot leave the driver. Pass it to the action, and look at TaskContext.Current.Cancellation inside the function."),
        Is<CancellationTokenRegistration>("cancellation registrations cannot leave the driver. Look at TaskContext.Current.Cancellation inside the function."),
        Is<Timer>("timers cannot leave the driver. Start one inside MapPartitions if the work needs it."),
        Is<PeriodicTimer>("timers cannot leave the driver. Start one inside MapPartitions if the work needs it."),
        Named("System.Timers.Timer", "timers cannot leave the driver. Start one inside MapPartitions if the work needs it."),
        new(IsLock, "a lock guards the memory of one process: executors would not share it. Use an accumulator, or aggregate the rows."),
        Is<IServiceProvider>("service providers cannot leave the driver. Resolve the values you need to locals first, or build the services inside MapPartitions."),
        Named("Microsoft.Extensions.Logging.ILogger", "loggers cannot leave the driver. Use TaskContext.Current.Logger inside the function."),
        Named("Microsoft.Extensions.Logging.ILoggerFactory", "loggers cannot leave the driver. Use TaskContext.Current.Logger inside the function."),
        Named("Microsoft.AspNetCore.Http.HttpContext", "the HTTP context exists only during its request. Copy the values you need to locals first."),
        Is<System.Diagnostics.Process>("processes cannot leave the driver. Start it inside MapPartitions."),
        Is<FileSystemWatcher>("file watchers cannot leave the driver. Watch in the driver and start a job for what changed."),
        Is<Random>("a random generator would give every partition the same numbers. Create one inside MapPartitions, seeded with TaskContext.Current.Partition."),
        Is<System.Security.Cryptography.RandomNumberGenerator>("random generators cannot leave the driver. Use the static RandomNumberGenerator methods inside the function."),
        new(type => IsGeneric(type, typeof(AsyncLocal<>)) || IsGeneric(type, typeof(ThreadLocal<>)), "thread and call context stays in its process. Copy its value to a local first."),
        new(type => type == typeof(WeakReference) || IsGeneric(type, typeof(WeakReference<>)), "a weak reference does not keep its target. Capture the target itself."),
        new(type => IsIterator(type), "a lazy sequence runs where it was made. Copy its items to an array or list first."),
        Is<System.Linq.Expressions.Expression>("expression trees do not travel. Write the function as a lambda."),
        Is<Assembly>("loaded code belongs to its process. Capture a Type or a name."),
        Is<Module>("loaded code belongs to its process. Capture a Type or a name."),
        Is<AppDomain>("loaded code belongs to its process. Capture a Type or a name."),
        new(type => IsGeneric(type, typeof(System.Threading.Channels.Channel<>)) || type.FullName?.StartsWith("System.Threading.Channels.", StringComparison.Ordinal) == true,
            "channels connect threads of one process. Return the items as rows."),
        Named("System.Collections.Concurrent.BlockingCollection`1", "blocking collections connect threads of one process. Return the items as rows."),
    ];

    private static bool IsLock(Type type) =>
        typeof(WaitHandle).IsAssignableFrom(type) || type == typeof(SemaphoreSlim) || type == typeof(ReaderWriterLockSlim) || type == typeof(ReaderWriterLock)
        || type == typeof(ManualResetEventSlim) || type == typeof(CountdownEvent) || type == typeof(Barrier) || type == typeof(Lock) || type == typeof(SpinLock);

    /// <summary>True for compiler-made iterators and enumerators: their position is the state of one loop in one process.</summary>
    private static bool IsIterator(Type type)
    {
        if (type.IsInterface)
        {
            return type == typeof(System.Collections.IEnumerator) || IsGeneric(type, typeof(IEnumerator<>)) || IsGeneric(type, typeof(IAsyncEnumerator<>))
                || IsGeneric(type, typeof(IAsyncEnumerable<>));
        }

        return typeof(System.Collections.IEnumerator).IsAssignableFrom(type) || type.GetInterfaces().Any(of => IsGeneric(of, typeof(IAsyncEnumerator<>)));
    }

    private static bool IsGeneric(Type type, Type definition) => type.IsGenericType && type.GetGenericTypeDefinition() == definition;

    // By name: this room does not reference those packages.
    private static bool IsOrImplements(Type type, string fullName) => Named(type, fullName) || type.GetInterfaces().Any(of => Named(of, fullName)) || Bases(type).Any(of => Named(of, fullName));

    private static bool Named(Type type, string fullName) => type.FullName?.StartsWith(fullName, StringComparison.Ordinal) == true
        && (type.FullName.Length == fullName.Length || type.FullName[fullName.Length] is '[' or '`');

    private static IEnumerable<Type> Bases(Type type)
    {
        for (var at = type.BaseType; at is not null; at = at.BaseType)
        {
            yield return at;
        }
    }
}
