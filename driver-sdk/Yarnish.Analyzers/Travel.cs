using Microsoft.CodeAnalysis;

namespace Yarnish.Analyzers;

/// <summary>Which types cannot leave the driver, as far as their declarations tell: the twin of the list that is checked at run time (Unshippable in Yarnish.Serialization).</summary>
internal static class Travel
{
    private const int MaxDepth = 6;

    // Full names of types and interfaces, and the cure.
    private static readonly Dictionary<string, string> Bound = new()
    {
        ["System.Data.IDbConnection"] = "Open the connection inside MapPartitions.",
        ["System.Data.IDbTransaction"] = "Write inside ForEachPartitionAsync with a transaction of its own.",
        ["System.Data.IDbCommand"] = "Create the command inside MapPartitions.",
        ["System.Data.IDataReader"] = "Read the rows first, or query inside MapPartitions.",
        ["System.IO.Stream"] = "Capture the path and open the file inside MapPartitions.",
        ["System.IO.TextReader"] = "Capture the path and open the reader inside MapPartitions.",
        ["System.IO.TextWriter"] = "Open the writer inside ForEachPartitionAsync.",
        ["System.IO.FileSystemWatcher"] = "Watch in the driver.",
        ["System.Net.Sockets.Socket"] = "Capture the address and connect inside MapPartitions.",
        ["System.Net.Sockets.TcpClient"] = "Capture the address and connect inside MapPartitions.",
        ["System.Net.Sockets.UdpClient"] = "Capture the address and connect inside MapPartitions.",
        ["System.Net.Http.HttpMessageInvoker"] = "Use a static HttpClient, or create one inside MapPartitions.",
        ["System.Net.Http.HttpMessageHandler"] = "Create one inside MapPartitions.",
        ["System.Runtime.InteropServices.SafeHandle"] = "Open the resource inside MapPartitions.",
        ["System.Runtime.InteropServices.GCHandle"] = "Capture the object itself.",
        ["System.Threading.Thread"] = "Tasks already run in parallel: call the work directly.",
        ["System.Threading.Tasks.Task"] = "Await it first and capture its result.",
        ["System.Threading.Tasks.ValueTask"] = "Await it first and capture its result.",
        ["System.Threading.Timer"] = "Start one inside MapPartitions if the work needs it.",
        ["System.Threading.PeriodicTimer"] = "Start one inside MapPartitions if the work needs it.",
        ["System.Timers.Timer"] = "Start one inside MapPartitions if the work needs it.",
        ["System.Threading.WaitHandle"] = "Executors would not share the lock: aggregate the rows.",
        ["System.Threading.SemaphoreSlim"] = "Executors would not share the lock: aggregate the rows.",
        ["System.Threading.ReaderWriterLockSlim"] = "Executors would not share the lock: aggregate the rows.",
        ["System.Threading.ManualResetEventSlim"] = "Executors would not share the lock: aggregate the rows.",
        ["System.Threading.Lock"] = "Executors would not share the lock: aggregate the rows.",
        ["System.Threading.AsyncLocal"] = "Copy its value to a local first.",
        ["System.Threading.ThreadLocal"] = "Copy its value to a local first.",
        ["System.IServiceProvider"] = "Resolve the values you need to locals first.",
        ["Microsoft.Extensions.Logging.ILogger"] = "Use TaskContext.Current.Logger inside the function.",
        ["Microsoft.Extensions.Logging.ILoggerFactory"] = "Use TaskContext.Current.Logger inside the function.",
        ["Microsoft.AspNetCore.Http.HttpContext"] = "Copy the values you need to locals first.",
        ["System.Diagnostics.Process"] = "Start it inside MapPartitions.",
        ["System.Random"] = "Create one inside MapPartitions, seeded with TaskContext.Current.Partition.",
        ["System.Collections.Generic.IEnumerator"] = "Copy its items to an array or list first.",
        ["System.Linq.Expressions.Expression"] = "Write the function as a lambda.",
        ["System.Text.Json.JsonSerializerOptions"] = "Hold it in a static field.",
    };

    private const string TaskToken = "Cancel the action instead, and look at TaskContext.Current.Cancellation inside the function.";

    // Handles of the driver.
    private static readonly Dictionary<string, string> Driver = new()
    {
        ["System.Threading.CancellationTokenSource"] = TaskToken,
        ["System.Threading.CancellationToken"] = TaskToken,
        ["Yarnish.Serialization.IDriverOnly"] = "Join the two collections, or collect the small one first and capture its rows.",
        ["Yarnish.YarnishSession"] = "Copy the values you need from it to locals before the call.",
    };

    /// <summary>The cure for a handle of the driver; null for other types.</summary>
    public static string? DriverOnly(ITypeSymbol type) => Match(type, Driver);

    /// <summary>The cure for a type that belongs to its process; null for other types.</summary>
    public static string? ProcessBound(ITypeSymbol type) => type switch
    {
        { TypeKind: TypeKind.Pointer or TypeKind.FunctionPointer } => "Send the data it points to.",
        { SpecialType: SpecialType.System_IntPtr or SpecialType.System_UIntPtr } => "Open the resource inside MapPartitions.",
        { IsRefLikeType: true } => "Copy its content to an array.",
        _ => Match(type, Bound),
    };

    /// <summary>The first member in a type that cannot leave the driver; null when none is known.</summary>
    public static Culprit? Find(ITypeSymbol type) => Find(type, [], 0);

    private static Culprit? Find(ITypeSymbol type, HashSet<ITypeSymbol> seen, int depth)
    {
        if (depth > MaxDepth || !seen.Add(type))
        {
            return null;
        }

        if ((DriverOnly(type) ?? ProcessBound(type)) is { } cure)
        {
            return new(type, [], cure);
        }

        switch (type)
        {
            case IArrayTypeSymbol array:
                return Find(array.ElementType, seen, depth + 1);
            case INamedTypeSymbol { TypeKind: TypeKind.Class or TypeKind.Struct } named when named.Locations.Any(location => location.IsInSource):
                return Bases(named)
                    .SelectMany(InstanceFields)
                    .Select(field => Find(field.Type, seen, depth + 1)?.Within(field))
                    .FirstOrDefault(culprit => culprit is not null);
            case INamedTypeSymbol { IsGenericType: true } generic when generic.ContainingNamespace?.ToDisplayString().StartsWith("System.Collections", System.StringComparison.Ordinal) == true:
                return generic.TypeArguments.Select(argument => Find(argument, seen, depth + 1)).FirstOrDefault(culprit => culprit is not null);
            default:
                return null;
        }
    }

    /// <summary>The fields of one type that travel; those behind automatic properties and constructor parameters too.</summary>
    public static IEnumerable<IFieldSymbol> InstanceFields(INamedTypeSymbol type) => type.GetMembers().OfType<IFieldSymbol>()
        .Where(field => !field.IsStatic && !field.IsConst && !StaysBehind(field) && !(field.AssociatedSymbol is { } property && StaysBehind(property)));

    /// <summary>The type and its bases, up to object.</summary>
    public static IEnumerable<INamedTypeSymbol> Bases(INamedTypeSymbol type)
    {
        for (var at = type; at is { SpecialType: SpecialType.None }; at = at.BaseType)
        {
            yield return at;
        }
    }

    private static bool StaysBehind(ISymbol member) => member.GetAttributes().Any(attribute => attribute.AttributeClass?.Name is "NonSerializedAttribute" or "YarnishTransientAttribute");

    private static string? Match(ITypeSymbol type, Dictionary<string, string> names)
    {
        for (var at = type; at is not null; at = at.BaseType)
        {
            if (names.TryGetValue(NameOf(at), out var cure))
            {
                return cure;
            }
        }

        return type.AllInterfaces.Select(of => names.TryGetValue(NameOf(of), out var cure) ? cure : null).FirstOrDefault(cure => cure is not null);
    }

    // Namespace and name; no type arguments.
    private static string NameOf(ITypeSymbol type) => type.ContainingNamespace is { IsGlobalNamespace: false } space ? $"{space.ToDisplayString()}.{type.Name}" : type.Name;
}

/// <summary>What cannot leave the driver, and the way to it.</summary>
internal sealed class Culprit(ITypeSymbol type, IReadOnlyList<string> path, string cure)
{
    public ITypeSymbol Type => type;

    /// <summary>A sentence without its period: messages add it.</summary>
    public string Cure => cure.TrimEnd('.');

    /// <summary>Such as <c>OrderJob._db (SqlConnection)</c>; the type alone when the culprit is the object itself.</summary>
    public string Where => path.Count == 0 ? Short(type) : $"{string.Join(" → ", path)} ({Short(type)})";

    public Culprit Within(IFieldSymbol field) => new(type, [$"{field.ContainingType.Name}.{NameOf(field)}", .. path], cure);

    public Culprit WithinParameter(INamedTypeSymbol owner, IParameterSymbol parameter) => new(type, [$"{owner.Name}.{parameter.Name}", .. path], cure);

    public static string Short(ITypeSymbol type) => type.WithNullableAnnotation(NullableAnnotation.NotAnnotated).ToDisplayString(SymbolDisplayFormat.MinimallyQualifiedFormat);

    // The field behind a property goes by the property, the one behind a constructor parameter by the parameter.
    private static string NameOf(IFieldSymbol field) => field.AssociatedSymbol?.Name ?? (field.Name.StartsWith("<", System.StringComparison.Ordinal) ? field.Name.Substring(1, field.Name.IndexOf('>') - 1) : field.Name);
}
