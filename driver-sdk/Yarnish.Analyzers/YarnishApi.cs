using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Yarnish.Analyzers;

/// <summary>Tells calls on collections: methods of <c>Rdd</c>, what derives from it, and the classes that extend it.</summary>
internal static class YarnishApi
{
    public static bool IsCollectionCall(IMethodSymbol method)
    {
        for (var type = method.ContainingType; type is not null; type = type.BaseType)
        {
            if (type.ContainingNamespace is { Name: "Yarnish", ContainingNamespace.IsGlobalNamespace: true } && (type.Name.StartsWith("Rdd", StringComparison.Ordinal) || type.Name == "YarnishSession"))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Actions run a job; the others only say what to compute.</summary>
    public static bool IsAction(IMethodSymbol method) => method.Name.EndsWith("Async", StringComparison.Ordinal)
        && method.ReturnType.Name is "Task" or "ValueTask" or "IAsyncEnumerable" && !method.OriginalDefinition.ReturnType.Name.StartsWith("Rdd", StringComparison.Ordinal);

    /// <summary>The functions that are given to a call.</summary>
    public static System.Collections.Generic.IEnumerable<IArgumentOperation> Functions(IInvocationOperation call) =>
        call.Arguments.Where(argument => argument.Parameter?.Type.TypeKind == TypeKind.Delegate);
}
