using Microsoft.CodeAnalysis;

namespace Yarnish.Analyzers;

/// <summary>What the analyzers find. The check at run time stays the authority: it sees values, the analyzers see types.</summary>
internal static class Rules
{
    public const string ThisId = "YRN0001";
    public const string HandleId = "YRN0002";

    public static readonly DiagnosticDescriptor This = new(
        ThisId,
        "A function captures 'this' of an object that cannot travel",
        "The function captures 'this' ({0}), and {1} cannot leave the driver. Copy the members it reads to locals before the call.",
        "Yarnish.Closures",
        DiagnosticSeverity.Error,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Handle = new(
        HandleId,
        "A function captures a handle that exists only in the driver",
        "The function captures '{0}' ({1}), which exists only in the driver. {2}.",
        "Yarnish.Closures",
        DiagnosticSeverity.Error,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Unshippable = new(
        "YRN0003",
        "A function captures an object that cannot travel",
        "The function captures {0} ({1}), which cannot leave the driver. {2}.",
        "Yarnish.Closures",
        DiagnosticSeverity.Error,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor RideAlong = new(
        "YRN0004",
        "A function captures 'this' and takes collections along that it does not read",
        "The function captures 'this' ({0}), so that '{1}' travels with every stage though the function does not read it. Copy the members it reads to locals before the call.",
        "Yarnish.Closures",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Write = new(
        "YRN0005",
        "A function changes captured state",
        "The function changes '{0}' in a copy on the executor: the change never comes back. Return it as a row and aggregate the rows.",
        "Yarnish.Closures",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Key = new(
        "YRN0006",
        "A key type without value equality, or one that can change",
        "'{0}' is no key for {1}: {2}",
        "Yarnish.Keys",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Indeterminate = new(
        "YRN0007",
        "A function whose result differs when it is computed again",
        "{0} gives another result when a lost partition is computed again. Take the value before the call, or seed it with TaskContext.Current.Partition.",
        "Yarnish.Determinism",
        DiagnosticSeverity.Info,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Async = new(
        "YRN0008",
        "An asynchronous function where a synchronous one is expected, or an action that is not awaited",
        "{0}",
        "Yarnish.Async",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true);

    public static readonly DiagnosticDescriptor Collected = new(
        "YRN0009",
        "A collected result captured by a function, or an action inside a loop",
        "{0}",
        "Yarnish.Performance",
        DiagnosticSeverity.Info,
        isEnabledByDefault: true);
}
